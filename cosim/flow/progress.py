"""Tell whoever waits what is being done; the command line draws bars from it, tests read it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self


class Progress:
    """Be told of tasks; this one keeps silent, others override what they show."""

    def begin(self, task: str) -> None:
        """Start a task."""

    def advance(self, done: int, total: int) -> None:
        """Say how far the task is."""

    def end(self, task: str, note: str) -> None:
        """Finish the task: `note` is how long it took, or that its result was reused."""

    def note(self, sentence: str) -> None:
        """Say something beside the tasks."""

    def close(self) -> None:
        """Clean up, also where a task broke off."""

    def __enter__(self) -> Self:
        """Use it as a context, closed at its end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @contextmanager
    def task(self, name: str) -> Iterator[None]:
        """Begin a task, and end it with the time it took unless it fails."""
        started = time.perf_counter()
        self.begin(name)
        yield
        self.end(name, f"{time.perf_counter() - started:.1f} s")

    def reused(self, name: str) -> None:
        """Say that the result of an earlier run still holds."""
        self.begin(name)
        self.end(name, "reused")
