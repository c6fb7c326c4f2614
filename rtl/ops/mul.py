"""Multiply, shift and saturate: five stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Mul, Rescale
from rtl.numerics import Int, mul
from rtl.ops.lanes import Lanes, each, rescaled
from rtl.pipe import Pipe


def wires(op: Mul | Rescale, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Register the operands and the product, as a DSP does; then shift, round and saturate."""

    def lane(a: Int, b: Int, s: Int) -> Int:
        a, b = (pipe.cut(x) for x in pipe.align(a, b))
        return rescaled(pipe.cut(mul(a, b)), s, out, pipe)

    return each(lane, *inputs)
