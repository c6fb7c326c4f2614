"""Interpolate in a table of equal segments: six stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cosim.ir.types import TensorType
from cosim.ops import Pwl
from rtl.numerics import (
    Int,
    add,
    bounded,
    clip,
    constant,
    less,
    mul,
    saturate,
    select,
    shift_floor,
    shift_left,
    shift_round,
    sub,
)
from rtl.ops.lanes import Lanes, Operand, Table, array_of, each, table_of, within
from rtl.pipe import Pipe


@dataclass(frozen=True)
class Segments:
    """Say where a table's segments lie; `at` gives each number at a stage, for the layer there.

    `offset` bounds the distance from a segment's start, over all layers.
    """

    start: Callable[[int | None], Int]
    log2_width: Callable[[int | None], Int]
    last: Callable[[int | None], Int]
    guard: Callable[[int | None], Int]
    offset: tuple[int, int]


# From numbers, one for each layer, and a stage to the number of the layer there.
ByLayer = Callable[[Sequence[int], int | None], Int]


def alike(values: Sequence[int], _: int | None) -> Int:
    """Return what is the same in all layers."""
    return constant(values[0])


def segments(
    ops: Sequence[Pwl], sizes: Sequence[int], x: tuple[int, int], by_layer: ByLayer = alike
) -> Segments:
    """Return the segments of each layer's table, for inputs from x[0] to x[1]."""
    ends = [
        (min(0, x[0] - op.start),
         max((1 << op.log2_width) - 1, x[1] - op.start - ((size - 1) << op.log2_width)))
        for op, size in zip(ops, sizes, strict=True)
    ]  # fmt: skip
    return Segments(
        lambda at: by_layer([op.start for op in ops], at),
        lambda at: by_layer([op.log2_width for op in ops], at),
        lambda at: by_layer([size - 1 for size in sizes], at),
        lambda at: by_layer([op.guard for op in ops], at),
        (min(lo for lo, _ in ends), max(hi for _, hi in ends)),
    )


def wires(op: Pwl, inputs: Sequence[Operand], out: TensorType, pipe: Pipe) -> Lanes:
    """Find the segment; look base and slope up; multiply; add; round; saturate."""
    x, base, slope = array_of(inputs[0]), table_of(inputs[1]), table_of(inputs[2])

    def lane(x: Int) -> Int:
        where = segments([op], [base.size], (x.lo, x.hi))
        return interpolated(op, where, x, base, slope, out, pipe)

    return each(lane, x)


def interpolated(
    op: Pwl, where: Segments, x: Int, base: Table, slope: Table, out: TensorType, pipe: Pipe
) -> Int:
    """Interpolate one value."""
    distance = sub(x, where.start(x.at))
    segment = shift_floor(distance, plain(where.log2_width(x.at)))
    index = pipe.cut(_inside(segment, where.last(x.at)))
    distance = pipe.cut(distance)
    # Inside the table less than a segment; before and behind it, as far as the input goes.
    width = plain(where.log2_width(index.at))
    offset = bounded(sub(distance, shift_left(index, width)), *where.offset)
    at, rise = (pipe.cut(t.entry(index)) for t in (base, slope))
    product, at = pipe.cut(mul(rise, pipe.cut(offset))), pipe.cut(at)
    total = pipe.cut(add(at, product))
    rounded = pipe.cut(shift_round(total, plain(where.guard(total.at))))
    return pipe.cut(within(saturate(rounded, op.dtype), out))


def _inside(segment: Int, last: Int) -> Int:
    """Clip a segment's number to 0..last."""
    if last.lo == last.hi:
        return clip(segment, 0, last.lo)
    segment = clip(segment, 0, max(segment.hi, 0))
    return bounded(select(less(last, segment), last, segment), 0, last.hi)


def plain(x: Int) -> Int | int:
    """Return a value that is the same everywhere as a number."""
    return x.lo if x.lo == x.hi else x
