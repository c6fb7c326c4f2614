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
    x, table, weights = array_of(inputs[0]), table_of(inputs[1]), array_of(inputs[2])
    entries = table.values.shape[1]
    found = []
    for at in np.ndindex(x.shape[:-1]):
        squares = [pipe.cut(square(v)) for v in x[at]]
        total = pipe.cut(tree(squares, add, pipe))
        root = root_of(total, segments_of(op, entries), entries, table, pipe)
        for value, weight in zip(x[at], weights, strict=True):
            value, by = (pipe.cut(v) for v in pipe.align(value, root))
            normal = shift_floor(pipe.cut(mul(value, by)), op.root_shift)
            normal, weight = (pipe.cut(v) for v in pipe.align(normal, weight))
            scaled = shift_floor(pipe.cut(mul(normal, weight)), op.weight_shift)
            found.append(pipe.cut(within(saturate(scaled, op.dtype), out)))
    return lanes(found, out.shape)


# Where a segment starts, how long its entries are, how far its roots are lifted, its first entry.
Segment = tuple[Int, Int, Int, Int]


def segments_of(op: RmsTable, entries: int) -> list[Segment]:
    """Return the segments of an operator as constants."""
    rows = zip(op.starts, op.log2_steps, op.lifts, strict=True)
    return [
        (constant(a), constant(s), constant(up), constant(k * entries))
        for k, (a, s, up) in enumerate(rows)
    ]


def root_of(total: Int, segments: Sequence[Segment], entries: int, table: Table, pipe: Pipe) -> Int:
    """Return the root, eight stages after the registered sum of squares: one is left.

    The numbers of the segments are constants, or at the sum's stage.
    """
    chosen = segments[0]
    for segment in segments[1:]:
        before = less(total, segment[0])
        chosen = tuple(  # type: ignore[assignment]  # four of them
            select(before, a, b) for a, b in zip(chosen, segment, strict=True)
        )
    start, step, lift, first = (Int(v.wire, v.lo, v.hi, total.at) for v in chosen)
    start, step, lift, first, total = (pipe.cut(v) for v in (start, step, lift, first, total))
    distance, step = pipe.cut(sub(total, start)), pipe.cut(step)
    place = pipe.cut(shift_floor(distance, step))
    entry = pipe.cut(clip(place, 0, entries - 1))
    first, entry = pipe.align(first, entry)
    index = pipe.cut(add(first, entry))
    value = pipe.cut(Table(table.values.reshape(-1)).entry(index))
    value, lift = pipe.align(value, lift)
    return pipe.cut(pipe.cut(shift_left(value, lift)))
