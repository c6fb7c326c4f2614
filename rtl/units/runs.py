"""Write the rows of a task as the runs of firings that a control follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np

from rtl.units.plan import UnitPlan
from rtl.units.schedule import Firing, Run, Schedule

Flags = Mapping[str, np.ndarray]


def runs_of(pops: Flags, pushes: Flags, marks: Flags, latency: int) -> tuple[Run, ...]:
    """Return the runs of rows, from flags by FIFO and numbers by mark, each an array over rows."""
    arrays = [*pops.values(), *pushes.values(), *marks.values()]
    table = np.stack([np.asarray(a, np.int64) for a in arrays])
    cuts = np.flatnonzero(np.any(table[:, 1:] != table[:, :-1], axis=0)) + 1
    edges = [0, *cuts.tolist(), table.shape[1]]
    return tuple(
        (
            stop - start,
            Firing(
                tuple(f for f, flags in pops.items() if flags[start]),
                tuple(f for f, flags in pushes.items() if flags[start]),
                latency,
                marks=tuple((m, int(values[start])) for m, values in marks.items()),
            ),
        )
        for start, stop in pairwise(edges)
    )


def schedule_of(plan: UnitPlan, runs: Mapping[str, tuple[Run, ...]]) -> Schedule:
    """Put the runs of a unit's tasks together, by task, as they come in a round."""

    def part(name: str) -> tuple[Run, ...]:
        own = [job.task.name for job in plan.jobs if job.task.part == name]
        return joined(run for task in own for run in runs[task])

    return Schedule(part("before"), part("block"), part("after"), plan.turns)


def joined(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Join neighbours that do the same."""
    found: list[Run] = []
    for times, kind in runs:
        if found and found[-1][1] == kind:
            found[-1] = (found[-1][0] + times, kind)
        else:
            found.append((times, kind))
    return tuple(found)
