"""Time a matrix unit: `lanes` rows at a time, `columns` products each a cycle.

Rows of the matrix go in groups of `lanes`, in the task's order. A group first takes its multipliers
out of the weight stream (where weights are streamed), then multiplies: each firing pops one beat of
weights, which holds lanes x columns of them. The input comes in during the first group, as it is
needed, and is kept for the others. The sums of a group leave as one beat with its last firing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cosim.design.kinds import OUTPUT_STAGES, STAGES, tree_stages
from cosim.design.plan import Unit
from cosim.design.shapes import LinearShape
from hw_models.network import Firing, Program
from hw_models.steps import Flow, Rows, encode, lay_rows


def weights_of(unit: Unit) -> str:
    """Return the name of the FIFO that brings a unit its weights.

    >>> weights_of(Unit("matrix", "matrix", 8, 8)), weights_of(Unit("matrix.out", "matrix", 8, 8))
    ('weights', 'weights.out')
    """
    return unit.name.replace("matrix", "weights", 1)


def stages(columns: int) -> int:
    """Return the cycles from a group's last row to its sums: multiply, add up, scale.

    >>> stages(16)
    9
    """
    return STAGES["linear"] + tree_stages(columns) + OUTPUT_STAGES


def program(flow: Flow, unit: Unit, shape: LinearShape, streamed: bool) -> Program:
    """Return the firings of one task."""
    task, latency = flow.task.name, stages(unit.columns)
    scales, steps = shape.scale_steps(unit, streamed), shape.weight_steps(unit)
    outputs = _outputs(flow, unit)
    first = _first_group(flow, unit, scales, steps, [f for f, used in outputs.items() if used[0]])
    if streamed:
        first = replace(first, pops={**first.pops, weights_of(unit): first.is_step})
    taken = (weights_of(unit),) if streamed else ()
    quiet = Firing(taken, (), latency, task=task)
    groups = shape.groups(unit)
    loud = [
        Firing(taken, tuple(f for f, used in outputs.items() if used[g]), latency, task=task)
        for g in range(1, groups)
    ]
    runs = [
        (times, kind) for kind in loud for times, kind in ((scales + steps - 1, quiet), (1, kind))
    ]
    return Program.join([encode(first, latency, task), Program.of(*runs)])


def _outputs(flow: Flow, unit: Unit) -> dict[str, np.ndarray]:
    """Return for each FIFO which groups' beats it takes."""
    found: dict[str, np.ndarray] = {}
    for emission in flow.emissions(unit.lanes):
        found.update(emission.goes_to)
    return found


def _first_group(flow: Flow, unit: Unit, scales: int, steps: int, outputs: list[str]) -> Rows:
    """Lay the rows of the first group, which brings the input in."""
    width = flow.stream.columns(flow.into[0].value).size
    ends = np.minimum((np.arange(steps) + 1) * unit.columns, width)
    needs = {}
    for fifo in flow.into:
        beat = flow.beat_of_element(fifo)
        latest = flow.stream.columns(fifo.value)
        token = np.maximum.accumulate(np.where(latest >= 0, beat[latest], -1))[ends - 1] + 1
        needs[fifo.name] = np.concatenate([np.zeros(scales, np.int64), token])
    rows = lay_rows(scales + steps, needs, [])
    last = np.zeros(rows.is_step.size, bool)
    last[-1] = True
    return Rows(dict(rows.pops), dict.fromkeys(outputs, last), rows.is_step)
