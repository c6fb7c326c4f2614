"""Say in which row of a task each beat comes and goes: what the model times and the wires build.

A task steps through its span `lanes` elements at a time. A step can pop one beat of each FIFO:
where it needs more, rows that only load go before it. Results leave in beats, one of each value a
row, as soon as they are complete; where they are late (a norm, a rotation, a group's scale), rows
that only emit follow the last step. One row is one firing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cosim.design.laying import (
    pops_of_rows,
    pushes_of_rows,
    rows_of_beats,
    rows_of_steps,
)
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
    wanted = _stacked(needs.values(), steps, np.int64)
    row_of = rows_of_steps(wanted, steps)
    total = int(row_of[-1]) + 1 if steps else 0
    leaving = []
    for emission in emissions:
        flags = _stacked(emission.goes_to.values(), emission.steps.size, np.bool_)
        at = rows_of_beats(row_of, emission.steps, flags)
        total = max(total, int(at.max(initial=-1)) + 1)
        leaving.append((emission.goes_to, at, flags))
    pushes: dict[str, np.ndarray] = {}
    for names, at, flags in leaving:
        pushes.update(zip(names, pushes_of_rows(at, flags, total), strict=True))
    is_step = np.zeros(total, bool)
    is_step[row_of] = True
    pops = dict(zip(needs, pops_of_rows(wanted, row_of, total), strict=True))
    return Rows(pops, pushes, is_step)


def _stacked(arrays: Iterable[np.ndarray], size: int, dtype: type) -> np.ndarray:
    """Return arrays of one size as rows of a matrix, also where there are none."""
    listed = [*arrays]
    return np.array(listed, dtype).reshape(len(listed), size)
