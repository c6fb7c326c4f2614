"""Be workers of this machine: processes that each talk over a pipe of their own.

A pool of the standard library loses all its work with one worker, and leaves workers behind when
its owner is killed; here a worker whose owner is gone reads the end of its pipe, and ends.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

from cosim.ir.errors import InternalError
from cosim.sweep.executor import Event

# Objects made before garbage is looked for. A worker keeps many small ones from task to task, and
# a search walks them all: at Python's 700 it took a tenth of the time of a sweep's points.
GARBAGE = 100_000

T = TypeVar("T")
R = TypeVar("R")


class Processes(Generic[T, R]):
    """Hold so many worker processes; `work` travels to each of them once."""

    # A pipe gives all that its dead writer has said.
    held = 2

    def __init__(self, work: Callable[[T], R], size: int) -> None:
        """Prepare; nothing starts yet."""
        if size < 1:
            raise InternalError(f"{size} processes do no work")
        self.work, self.size = work, size
        # Not forked: threads that torch or numba have started do not survive a fork.
        self.context = multiprocessing.get_context("spawn")
        self.running: dict[int, tuple[SpawnProcess, Connection]] = {}

    def start(self, worker: int) -> None:
        """Start a process in this place."""
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.work), daemon=True)
        process.start()
        theirs.close()  # so that its end is seen when the process dies
        self.running[worker] = process, ours

    def send(self, worker: int, task: T) -> None:
        """Put a task into the pipe."""
        with suppress(OSError):  # it is dead: `wait` tells
            self.running[worker][1].send(task)

    def wait(self) -> list[Event[R]]:
        """Wait for an answer or a death; the last answers of the dead come first."""
        pipes = {pipe: worker for worker, (_, pipe) in self.running.items()}
        events: list[Event[R]] = []
        for ready in wait(list(pipes)):
            worker = pipes[ready]  # type: ignore[index]  # one of pipes
            try:
                kind, answer, text = self.running[worker][1].recv()
                events.append(Event(worker, kind, answer, text))
            except (EOFError, OSError):
                events.append(Event(worker, "death", text=self._funeral(worker)))
        return events

    def _funeral(self, worker: int) -> str:
        process, pipe = self.running.pop(worker)
        pipe.close()
        process.join()
        code = process.exitcode or 0
        if code >= 0:
            return f"exit status {code}"
        name = signal.Signals(-code).name
        return f"{name}, perhaps for want of memory" if name == "SIGKILL" else name

    def close(self) -> None:
        """End all processes; what they were at is not kept."""
        for process, pipe in self.running.values():
            pipe.close()
            process.terminate()
        for process, _ in self.running.values():
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
        self.running.clear()


def _serve(pipe: Connection, work: Callable[[T], R]) -> None:
    """Answer tasks until the pipe ends."""
    # Ctrl-C reaches the whole group; the owner decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(GARBAGE)
    with suppress(EOFError, OSError):
        pipe.send(("ready", None, ""))
        while True:
            task = pipe.recv()
            try:
                answer = work(task)
            except Exception:
                pipe.send(("fault", None, traceback.format_exc()))
            else:
                pipe.send(("answer", answer, ""))
