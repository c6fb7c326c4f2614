"""Show progress on stderr: a bar with the time left on a terminal, else one line per task."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cosim.flow.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class Lines(Progress):
    """Write one line per finished task."""

    def end(self, task: str, note: str) -> None:
        """Write the line."""
        print(f"{task}: {note}", file=sys.stderr, flush=True)


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
