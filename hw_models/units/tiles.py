"""Time what stands round a matrix unit where a tile of passes shares each fetch of weights.

Passes are tokens of a prompt, or sequences of a batch. Group of rows by group of rows, the unit
multiplies for one pass after another, so that a group's weights are fetched once:

`<unit>.weights`  a double buffer (`reused` in `units/memory.py`) that hands a group's weights on
                  as they come, and gives them again to every further pass; multipliers it gives
                  once. It stands between `weights.fetched` and `weights`.
`<unit>`          the passes of a group: the first as without tiles, the others without multipliers.
                  In the first group each pass brings its own input in. Sums leave to `<unit>.sums`.
`<unit>.sort`     writes sums, which come group by group, into a memory of two tiles
                  or as many as a turn has, so that the unit never waits for their takers;
`<unit>.emit`     reads them pass by pass, as their takers want them. `<unit>.stored` tells of each
                  group that all its passes are there, `<unit>.room` that its place is free again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cosim.design.plan import Unit, weights_of
from cosim.design.rows import Flow
from cosim.design.shapes import LinearShape
from hw_models.network import Firing, Program
from hw_models.passes import repeated
from hw_models.steps import encode
from hw_models.units import matrix, memory

FETCHED, SUMS, STORED, ROOM = ".fetched", ".sums", ".stored", ".room"
ORDER_STAGES = 2  # the memory is written, and read


def products(flow: Flow, unit: Unit, shape: LinearShape, tile: int) -> Program:
    """Return the firings that multiply for one tile of passes; weights are streamed."""
    task, latency, sums = flow.task.name, matrix.stages(unit.columns), f"{unit.name}{SUMS}"
    weights, steps = weights_of(unit), shape.weight_steps(unit)
    scales = shape.scale_steps(unit, streamed=True)
    quiet = Firing((weights,), (), latency, task=task)
    loud = replace(quiet, pushes=(sums,))
    opening, group = [], []
    for taken in (scales, *[0] * (tile - 1)):
        rows = matrix.first_group(flow, unit, taken, steps, [sums])
        rows = replace(rows, pops={**rows.pops, weights: rows.is_step})
        opening.append(encode(rows, latency, task))
        group += [(taken + steps - 1, quiet), (1, loud)]
    others = repeated(Program.of(*group), shape.groups(unit) - 1)
    return Program.join([*opening, others])


def kept_weights(task: str, unit: Unit, shape: LinearShape, tile: int) -> Program:
    """Return the firings of the double buffer of weights for one tile of passes."""
    into, scales = weights_of(unit), shape.scale_steps(unit, streamed=True)
    beats, group = shape.steps(unit, streamed=True), scales + shape.weight_steps(unit)
    return memory.reused(task, f"{into}{FETCHED}", into, beats, tile, group, scales)


def order(flow: Flow, unit: Unit, shape: LinearShape, tile: int) -> tuple[Program, Program]:
    """Return the firings that write a tile's sums, and those that let them out pass by pass."""
    sums, stored, room = (f"{unit.name}{end}" for end in (SUMS, STORED, ROOM))
    task, groups = flow.task.name, shape.groups(unit)
    writes = [
        (1, Firing(
            (sums, room) if p == 0 else (sums,), (stored,) if p == tile - 1 else (), task=task,
        ))
        for p in range(tile)
    ]  # fmt: skip
    flags = matrix.outputs(flow, unit)
    code = np.zeros(groups, np.int64)
    for bit, used in enumerate(flags.values()):
        code |= used.astype(np.int64) << bit
    values, index = np.unique(code, return_inverse=True)
    reads = []
    for p in range(tile):
        kinds = tuple(
            Firing(
                (stored,) if p == 0 else (),
                (*(f for bit, f in enumerate(flags) if value >> bit & 1),
                 *((room,) if p == tile - 1 else ())),
                ORDER_STAGES,
                task=task,
            )
            for value in values.tolist()
        )  # fmt: skip
        reads.append(Program(kinds, index.astype(np.int64), np.ones(groups, np.int64)))
    return repeated(Program.of(*writes), groups), Program.join(reads)
