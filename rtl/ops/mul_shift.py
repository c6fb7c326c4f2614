"""Multiply, shift by exponents, round down and saturate: four stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import MulShift
from rtl.numerics import Int, add, mul, saturate, shift_floor, shift_left
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def wires(op: MulShift, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Multiply and shift; saturate; a register after each."""

    def lane(a: Int, b: Int, s: Int, t: Int) -> Int:
        raised = shifted_product(a, b, add(*pipe.align(s, t)), pipe)
        moved = pipe.cut(shift_floor(raised, op.down))
        return pipe.cut(within(saturate(moved, op.dtype), out))

    return each(lane, *inputs)


def shifted_product(a: Int, b: Int, exponent: Int, pipe: Pipe) -> Int:
    """Return a b << exponent, two stages later: a register before and after the multiplier."""
    a, b, exponent = (pipe.cut(x) for x in pipe.align(a, b, exponent))
    return shift_left(pipe.cut(mul(a, b)), pipe.cut(exponent))
