"""Be workers of this machine: processes that each talk over a pipe of their own.

A pool of the standard library loses all its work with one worker, and leaves workers behind when
its owner is killed; here a worker whose owner is gone reads the end of its pipe, and ends.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import time
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
# The owner wakes for several answers at once, for waking costs it more than an answer does: with
# tasks of 4 ms it took 0.24 ms of it a point, and takes 0.12 ms. Meanwhile its workers have so
# many seconds of tasks at hand, but at least two tasks and at most sixteen.
AHEAD_S, PAUSE_S, FEWEST_HELD, MOST_HELD = 0.06, 0.02, 2, 16

T = TypeVar("T")
R = TypeVar("R")


class Processes(Generic[T, R]):
    """Hold so many worker processes; `work` travels to each of them once."""

    def __init__(self, work: Callable[[T], R], size: int) -> None:
        """Prepare; nothing starts yet."""
        if size < 1:
            raise InternalError(f"{size} processes do no work")
        self.work, self.size = work, size
        # Not forked: threads that torch or numba have started do not survive a fork.
        self.context = multiprocessing.get_context("spawn")
        self.running: dict[int, tuple[SpawnProcess, Connection]] = {}
        # More than one task may be with a worker: a pipe gives all that its dead writer has said.
        self.held = FEWEST_HELD
        self._left: dict[int, int] = {}  # tasks that each worker has yet to answer
        self._task_s = 0.0  # what a task took of late

    def start(self, worker: int) -> None:
        """Start a process in this place."""
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.work), daemon=True)
        process.start()
        theirs.close()  # so that its end is seen when the process dies
        self.running[worker] = process, ours
        self._left[worker] = 0

    def send(self, worker: int, task: T) -> None:
        """Put a task into the pipe."""
        with suppress(OSError):  # it is dead: `wait` tells
            self.running[worker][1].send(task)
            self._left[worker] += 1

    def wait(self) -> list[Event[R]]:
        """Wait for an answer or a death; the last answers of the dead come first."""
        if self._left:
            time.sleep(min(PAUSE_S, self._task_s * max(min(self._left.values()) - 1, 0)))
        pipes = {pipe: worker for worker, (_, pipe) in self.running.items()}
        events: list[Event[R]] = []
        for ready in wait(list(pipes)):
            events += self._said(pipes[ready])  # type: ignore[index]  # one of pipes
        return events

    def _said(self, worker: int) -> list[Event[R]]:
        """Return all that lies in a worker's pipe, and its death where that is its end."""
        events: list[Event[R]] = []
        pipe = self.running[worker][1]
        try:
            while not events or pipe.poll():
                kind, answer, text, seconds = pipe.recv()
                events.append(Event(worker, kind, answer, text))
                if kind == "answer":
                    self._left[worker] -= 1
                    self._learn(seconds)
        except (EOFError, OSError):
            events.append(Event(worker, "death", text=self._funeral(worker)))
        return events

    def _learn(self, seconds: float) -> None:
        """Take in what one more task took; the more a task takes, the fewer lie with a worker."""
        self._task_s = (7 * self._task_s + seconds) / 8 if self._task_s else seconds
        self.held = min(max(int(AHEAD_S / max(self._task_s, 1e-6)), FEWEST_HELD), MOST_HELD)

    def _funeral(self, worker: int) -> str:
        process, pipe = self.running.pop(worker)
        del self._left[worker]
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
        self._left.clear()


def _serve(pipe: Connection, work: Callable[[T], R]) -> None:
    """Answer tasks until the pipe ends."""
    # Ctrl-C reaches the whole group; the owner decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(GARBAGE)
    with suppress(EOFError, OSError):
        pipe.send(("ready", None, "", 0.0))
        while True:
            task = pipe.recv()
            began = time.perf_counter()
            try:
                answer = work(task)
            except Exception:
                pipe.send(("fault", None, traceback.format_exc(), 0.0))
            else:
                pipe.send(("answer", answer, "", time.perf_counter() - began))
