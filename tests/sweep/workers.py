"""Things for workers to do in tests; they live in a file of their own, for workers import them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Square:
    """Square a number, and count in a folder how often each was asked for.

    Of `deadly` numbers the worker dies, the first time or every time; of `wrong` ones it meets a
    fault. No task is answered before `together` workers have one.
    """

    folder: Path
    deadly: tuple[int, ...] = ()
    always: bool = False
    wrong: tuple[int, ...] = ()
    seconds: float = 0.0
    together: int = 0

    def __call__(self, number: int) -> int:
        mark = self.folder / f"{number}-{time.monotonic_ns()}-{os.getpid()}"
        mark.touch()
        if number in self.wrong:
            raise ZeroDivisionError(f"of {number}")
        if number in self.deadly and (self.always or self.asked(number) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        until = time.monotonic() + 60
        while len(self.workers()) < self.together and time.monotonic() < until:
            time.sleep(0.01)
        return number * number

    def asked(self, number: int) -> int:
        return len(list(self.folder.glob(f"{number}-*")))

    def workers(self) -> set[str]:
        return {p.name.rpartition("-")[2] for p in self.folder.iterdir()}


class StillBorn:
    """Cannot be unpickled where it is sent."""

    def __reduce__(self):
        return (os._exit, (3,))
