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
from cosim.design.plan import Unit, weights_of
from cosim.design.rows import Flow, Rows, lay_rows
from cosim.design.shapes import LinearShape
from hw_models.network import Firing, Program
from hw_models.steps import encode, numbered


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
    sums = outputs(flow, unit)
    first = first_group(flow, unit, scales, steps, [f for f, used in sums.items() if used[0]])
    if streamed:
        first = replace(first, pops={**first.pops, weights_of(unit): first.is_step})
    taken = (weights_of(unit),) if streamed else ()
    quiet = Firing(taken, (), latency, task=task)
    others = _other_groups(sums, quiet, scales + steps, shape.groups(unit) - 1)
    return Program.join([encode(first, latency, task), others])


def _other_groups(
    outputs: dict[str, np.ndarray], quiet: Firing, steps: int, groups: int
) -> Program:
    """Return the firings of all groups but the first: the last one of each gives its sums."""
    code = np.zeros(groups, np.int64)
    for bit, used in enumerate(outputs.values()):
        code |= used[1:].astype(np.int64) << bit
    codes, loud = numbered(code)
    kinds = [
        replace(quiet, pushes=tuple(f for bit, f in enumerate(outputs) if c >> bit & 1))
        for c in codes.tolist()
    ]
    if steps == 1:
        return Program(tuple(kinds), loud, np.ones(loud.size, np.int64))
    index, times = np.zeros(2 * loud.size, np.int64), np.ones(2 * loud.size, np.int64)
    index[1::2] = loud + 1
    times[::2] = steps - 1
    return Program((quiet, *kinds), index, times)


def outputs(flow: Flow, unit: Unit) -> dict[str, np.ndarray]:
    """Return for each FIFO which groups' beats it takes."""
    found: dict[str, np.ndarray] = {}
    for emission in flow.emissions(unit.lanes):
        found.update(emission.goes_to)
    return found


def first_group(flow: Flow, unit: Unit, scales: int, steps: int, outputs: list[str]) -> Rows:
    """Lay the rows of the first group, which brings the input in."""
    width = flow.passage(flow.into[0]).latest.size
    ends = np.minimum((np.arange(steps) + 1) * unit.columns, width) - 1
    needs = {}
    for fifo in flow.into:
        token = flow.passage(fifo).beats_by(ends, fifo.beat)
        needs[fifo.channel] = np.concatenate([np.zeros(scales, np.int64), token])
    rows = lay_rows(scales + steps, needs, [])
    last = np.zeros(rows.is_step.size, bool)
    last[-1] = True
    return Rows(dict(rows.pops), dict.fromkeys(outputs, last), rows.is_step)
