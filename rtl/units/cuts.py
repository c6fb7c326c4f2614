"""Say where the vectors of a task end in its rows of `lanes` elements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from rtl.units.passing import Passing


@dataclass(frozen=True, eq=False)
class Cuts:
    """Say where vectors of `size` elements end in a task's rows."""

    passing: Passing
    size: int

    @property
    def lanes(self) -> int:
        """Return the elements of a row."""
        return self.passing.plan.unit.lanes

    @property
    def mixes(self) -> bool:
        """Tell whether a row may hold elements of two vectors."""
        return self.passing.job.task.span != self.size and self.size % self.lanes != 0

    @property
    def opens(self) -> list[bool]:
        """Return for each step whether it begins with a vector."""
        return [s * self.lanes % self.size == 0 for s in range(self.passing.steps)]

    @cached_property
    def closed(self) -> list[int]:
        """Return how many vectors are complete with each step."""
        span = self.passing.job.task.span
        ends = [min((s + 1) * self.lanes, span) for s in range(self.passing.steps)]
        return [end // self.size for end in ends]

    @property
    def closes(self) -> list[bool]:
        """Return for each step whether it completes a vector."""
        return [b > a for a, b in pairwise([0, *self.closed])]

    @property
    def behind(self) -> list[int]:
        """Return for each step the flags of the lanes that stand behind the end of a vector."""
        found = []
        for step in range(self.passing.steps):
            first = step * self.lanes
            rest = self.size - first % self.size
            found.append(sum(1 << k for k in range(self.lanes) if k >= rest))
        return found

    @property
    def ages(self) -> list[list[int]]:
        """Return for each beat that leaves, and each lane, how many vectors were closed since."""
        rows, span = self.passing.rows, self.passing.job.task.span
        done = [0, *self.closed]
        found = []
        steps = np.cumsum(rows.is_step)
        for beat, row in enumerate(np.flatnonzero(self.passing.emits).tolist()):
            latest = done[steps[row]] - 1
            places = range(beat * self.lanes, (beat + 1) * self.lanes)
            found.append([latest - e // self.size if e < span else 0 for e in places])
        return found
