"""Show progress on stderr: a bar with the time left on a terminal, else one line per task."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from cosim.flow.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


# Where there is no terminal, a long task says so often how far it is.
LINE_SECONDS = 30.0


class Lines(Progress):
    """Write one line per finished task, and how far a long one is."""

    def __init__(self) -> None:
        """Start the clock."""
        self._task, self._began, self._said, self._first = "", 0.0, 0.0, 0

    def begin(self, task: str) -> None:
        """Note when it began."""
        self._task, self._first = task, -1
        self._began = self._said = time.monotonic()

    def advance(self, done: int, total: int) -> None:
        """Write how far it is, and how long the rest takes at the pace so far."""
        now = time.monotonic()
        if self._first < 0:
            self._first = done  # what was there at the start took no time
        if now - self._said < LINE_SECONDS or done <= self._first:
            return
        self._said = now
        left = (total - done) * (now - self._began) / (done - self._first)
        print(
            f"{self._task}: {done:,} of {total:,}, {timedelta(seconds=round(left))} left",
            file=sys.stderr,
            flush=True,
        )

    def end(self, task: str, note: str) -> None:
        """Write the line."""
        print(f"{task}: {note}", file=sys.stderr, flush=True)

    def note(self, sentence: str) -> None:
        """Write it as a line."""
        print(sentence, file=sys.stderr, flush=True)


class BarsOnTerminal(Progress):
    """Draw a bar for the task at hand, and leave a line when it is done."""

    def __init__(self) -> None:
        """Prepare the terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.console = Console(stderr=True, highlight=False)
        self._bars: Bars = Bars(
            TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=self.console, transient=True,
        )  # fmt: skip
        self._task: TaskID | None = None

    def begin(self, task: str) -> None:
        """Start a bar without a length."""
        self._bars.start()
        self._task = self._bars.add_task(task, total=None)

    def advance(self, done: int, total: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total)

    def end(self, task: str, note: str) -> None:
        """Replace the bar by a line."""
        self.close()
        self.console.print(f"{task}: {note}", markup=False)

    def note(self, sentence: str) -> None:
        """Write it above the bar."""
        self.console.print(sentence, markup=False)

    def close(self) -> None:
        """Take the bar away, also when a task ends early."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        self._bars.stop()


def make_progress(quiet: bool) -> Progress:
    """Choose how to show progress."""
    if quiet:
        return Progress()
    return BarsOnTerminal() if sys.stderr.isatty() else Lines()
