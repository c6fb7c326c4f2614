"""Normalise by a root out of a table: squares in a tree, nine stages to the root, five behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import RmsTable
from rtl.numerics import (
    Int,
    add,
    clip,
    constant,
    less,
    mul,
    saturate,
    select,
    shift_floor,
    shift_left,
    square,
    sub,
)
from rtl.ops.lanes import Lanes, Operand, Table, array_of, lanes, table_of, tree, within
from rtl.pipe import Pipe


def wires(op: RmsTable, inputs: Sequence[Operand], out: TensorType, pipe: Pipe) -> Lanes:
    """Sum the squares, look the root up, multiply each element by it and by its weight."""
    x, weights = array_of(inputs[0]), array_of(inputs[2])
    found = []
    for at in np.ndindex(x.shape[:-1]):
        squares = [pipe.cut(square(v)) for v in x[at]]
        root = root_of(op, tree(squares, add, pipe), table_of(inputs[1]), pipe)
        for value, weight in zip(x[at], weights, strict=True):
            value, by = (pipe.cut(v) for v in pipe.align(value, root))
            normal = shift_floor(pipe.cut(mul(value, by)), op.root_shift)
            normal, weight = (pipe.cut(v) for v in pipe.align(normal, weight))
            scaled = shift_floor(pipe.cut(mul(normal, weight)), op.weight_shift)
            found.append(pipe.cut(within(saturate(scaled, op.dtype), out)))
    return lanes(found, out.shape)


def root_of(op: RmsTable, total: Int, table: Table, pipe: Pipe) -> Int:
    """Return the root, nine stages after the sum of squares: one is left for a longer way."""
    total = pipe.cut(total)
    entries = table.values.shape[1]
    start, step = constant(op.starts[0]), constant(op.log2_steps[0])
    lift, first = constant(op.lifts[0]), constant(0)
    rows = zip(op.starts[1:], op.log2_steps[1:], op.lifts[1:], strict=True)
    for k, (a, s, up) in enumerate(rows, 1):
        before = less(total, constant(a))
        start = select(before, start, constant(a))
        step = select(before, step, constant(s))
        lift = select(before, lift, constant(up))
        first = select(before, first, constant(k * entries))
    start, step, lift, first = (
        Int(v.wire, v.lo, v.hi, total.at) for v in (start, step, lift, first)
    )
    start, step, lift, first, total = (pipe.cut(v) for v in (start, step, lift, first, total))
    distance, step = pipe.cut(sub(total, start)), pipe.cut(step)
    place = pipe.cut(shift_floor(distance, step))
    entry = pipe.cut(clip(place, 0, entries - 1))
    first, entry = pipe.align(first, entry)
    index = pipe.cut(add(first, entry))
    value = pipe.cut(Table(table.values.reshape(-1)).entry(index))
    value, lift = pipe.align(value, lift)
    return pipe.cut(pipe.cut(shift_left(value, lift)))
