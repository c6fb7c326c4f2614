"""Interpolate in a table whose segments double in width: seven stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import PwlLog
from cosim.ops.pwl_log import segment_count
from rtl.numerics import (
    Int,
    add,
    bit_length,
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
from rtl.ops.pwl import ByLayer, alike, plain
from rtl.pipe import Pipe


def wires(op: PwlLog, inputs: Sequence[Operand], out: TensorType, pipe: Pipe) -> Lanes:
    """Interpolate every value in one table."""
    return by_layer([op], inputs, out, pipe)


def by_layer(
    ops: Sequence[PwlLog],
    inputs: Sequence[Operand],
    out: TensorType,
    pipe: Pipe,
    number: ByLayer = alike,
) -> Lanes:
    """Count the bits; shift; find segment and offset; look up; multiply; add; round, saturate."""
    x, base, slope = array_of(inputs[0]), table_of(inputs[1]), table_of(inputs[2])
    op = ops[0]
    m, guards = op.mantissa_bits, [o.guard for o in ops]

    def lane(x: Int) -> Int:
        most = max(x.hi.bit_length() - 1 - m, 0)
        shift = pipe.cut(clip(sub(bit_length(x), constant(1 + m)), 0, most))
        x = pipe.cut(x)
        top, shift, x = (pipe.cut(v) for v in (shift_floor(x, shift), shift, x))
        index = bounded(add(shift_left(shift, m), top), 0, segment_count(x.hi, m) - 1)
        offset = bounded(sub(x, shift_left(top, shift)), 0, (1 << most) - 1)
        index, offset = pipe.cut(index), pipe.cut(offset)
        at, rise = (pipe.cut(t.entry(index)) for t in (base, slope))
        product, at = pipe.cut(mul(rise, pipe.cut(offset))), pipe.cut(at)
        total = pipe.cut(add(at, product))
        rounded = shift_round(total, plain(number(guards, total.at)))
        return pipe.cut(within(saturate(rounded, op.dtype), out))

    return each(lane, x)
