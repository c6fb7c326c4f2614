"""Turn pairs by their angle: products, a sum, a rounding shift; six stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Rope
from rtl.numerics import Int, add, constant, mul, sub
from rtl.ops.lanes import Lanes, each, rescaled
from rtl.pipe import Pipe


def wires(op: Rope, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Register the operands and the products, as DSPs do; add, shift, round and saturate."""
    x, turn = inputs
    half = x.shape[-1] // 2
    low, high = x[..., :half], x[..., half:]
    cos, sin = turn[..., :half], turn[..., half:]

    def products(a: Int, by: Int, b: Int, across: Int) -> tuple[Int, Int]:
        a, by, b, across = (pipe.cut(v) for v in pipe.align(a, by, b, across))
        return pipe.cut(mul(a, by)), pipe.cut(mul(b, across))

    def rounded(total: Int) -> Int:
        total = pipe.cut(total)
        return rescaled(total, replace(constant(op.frac_bits), at=None), out, pipe)

    def first(a: Int, by: Int, b: Int, across: Int) -> Int:
        return rounded(sub(*products(a, by, b, across)))

    def second(a: Int, by: Int, b: Int, across: Int) -> Int:
        return rounded(add(*products(a, by, b, across)))

    ends = each(first, low, cos, high, sin), each(second, high, cos, low, sin)
    return np.concatenate(ends, axis=-1)
