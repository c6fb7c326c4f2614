"""Interpolate in a table of equal segments: six stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Pwl
from rtl.numerics import (
    Int,
    add,
    bounded,
    clip,
    constant,
    mul,
    saturate,
    shift_floor,
    shift_left,
    shift_round,
    sub,
)
from rtl.ops.lanes import Lanes, Operand, array_of, each, table_of, within
from rtl.pipe import Pipe


def wires(op: Pwl, inputs: Sequence[Operand], out: TensorType, pipe: Pipe) -> Lanes:
    """Find the segment; look base and slope up; multiply; add; round; saturate."""
    x, base, slope = array_of(inputs[0]), table_of(inputs[1]), table_of(inputs[2])
    last = base.values.shape[0] - 1
    width = 1 << op.log2_width

    def lane(x: Int) -> Int:
        distance = sub(x, constant(op.start))
        index = pipe.cut(clip(shift_floor(distance, op.log2_width), 0, last))
        distance = pipe.cut(distance)
        # Inside the table less than a segment; before and behind it, as far as the input goes.
        offset = bounded(
            sub(distance, shift_left(index, op.log2_width)),
            min(0, distance.lo), max(width - 1, distance.hi - (last << op.log2_width)),
        )  # fmt: skip
        at, rise = (pipe.cut(t.entry(index)) for t in (base, slope))
        product, at = pipe.cut(mul(rise, pipe.cut(offset))), pipe.cut(at)
        rounded = pipe.cut(shift_round(pipe.cut(add(at, product)), op.guard))
        return pipe.cut(within(saturate(rounded, op.dtype), out))

    return each(lane, x)
