"""Say in which row of a task each beat comes and goes: what the model times and the wires build.

A task steps through its span `lanes` elements at a time. A step can pop one beat of each FIFO:
where it needs more, rows that only load go before it. Results leave in beats, one of each value a
row, as soon as they are complete; where they are late (a norm, a rotation, a group's scale), rows
that only emit follow the last step. One row is one firing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cosim.design.plan import Fifo, Task
from cosim.design.streams import Passage, TaskStream
from cosim.design.tasks import Skeleton


@dataclass(frozen=True)
class Emission:
    """Say with which step each beat of a value is complete, and to which FIFOs it goes."""

    steps: np.ndarray
    goes_to: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """Hold the rows of a task: flags by FIFO name, and which rows are steps (not only loads)."""

    pops: Mapping[str, np.ndarray]
    pushes: Mapping[str, np.ndarray]
    is_step: np.ndarray


class Flow:
    """Look at the FIFOs of one task: which beats it needs by when, which it gives."""

    def __init__(
        self, skeleton: Skeleton, task: Task, into: Sequence[Fifo], out: Sequence[Fifo]
    ) -> None:
        """Look at a task with the FIFOs that end at it and those that begin at it."""
        self.skeleton, self.task = skeleton, task
        self.into, self.out = into, out
        self.stream = TaskStream.of(skeleton, task)

    def passage(self, fifo: Fifo) -> Passage:
        """Return how a FIFO's value goes from its maker to its taker."""
        maker, taker = self.skeleton.task(fifo.maker), self.skeleton.task(fifo.taker)
        return Passage.of(self.skeleton, maker, taker, fifo.value)

    def needs(self, lanes: int) -> dict[str, np.ndarray]:
        """Return for each FIFO how many beats must have been popped with each step."""
        ends = np.minimum((np.arange(-(-self.task.span // lanes)) + 1) * lanes, self.task.span) - 1
        return {f.channel: self.passage(f).beats_by(ends, f.beat) for f in self.into}

    def emissions(self, lanes: int) -> list[Emission]:
        """Return the emission of each value that leaves the task."""
        found = []
        for root in dict.fromkeys(f.value for f in self.out):
            fifos = [f for f in self.out if f.value == root]
            beat = fifos[0].beat
            made = self.stream.made_in_turn(root)
            last = np.minimum((np.arange(-(-made.size // beat)) + 1) * beat, made.size) - 1
            goes_to = {f.channel: self.passage(f).carried(beat) for f in fifos}
            found.append(Emission(made[last] // lanes, goes_to))
        return found


def lay_rows(steps: int, needs: Mapping[str, np.ndarray], emissions: Sequence[Emission]) -> Rows:
    """Place loads, steps and emissions on rows."""
    extra = np.zeros(steps, np.int64)
    for need in needs.values():
        np.maximum(extra[1:], need[1:] - need[:-1] - 1, out=extra[1:])
        extra[:1] = np.maximum(extra[:1], need[:1] - 1)
    row_of = np.arange(steps) + np.cumsum(extra)
    pop_rows = {}
    for name, need in needs.items():
        token = np.arange(need[-1] if steps else 0)
        step = np.searchsorted(need, token + 1)
        pop_rows[name] = row_of[step] - (need[step] - 1 - token)
    push_rows: dict[str, np.ndarray] = {}
    total = int(row_of[-1]) + 1 if steps else 0
    for emission in emissions:
        anywhere = np.any(list(emission.goes_to.values()), axis=0)
        count = np.arange(int(anywhere.sum()))
        at = np.maximum.accumulate(row_of[emission.steps[anywhere]] - count) + count
        for name, flags in emission.goes_to.items():
            push_rows[name] = at[flags[anywhere]]
        total = max(total, int(at[-1]) + 1) if at.size else total
    is_step = np.zeros(total, bool)
    is_step[row_of] = True
    return Rows(_flags(pop_rows, total), _flags(push_rows, total), is_step)


def _flags(at: Mapping[str, np.ndarray], total: int) -> dict[str, np.ndarray]:
    found = {}
    for name, rows in at.items():
        found[name] = np.zeros(total, bool)
        found[name][rows] = True
    return found
