"""Multiply by an integer constant, shift and saturate: y = sat(round(x * m / 2^s))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, round_bounds, shift_signed
from cosim.ir.op import Op, Types, largest, product_bounds, same_rank
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class Rescale(Op):
    """Scale by m / 2^s; inputs x, constants m and s, broadcast; s < 0 shifts left."""

    dtype: IntType

    name: ClassVar[str] = "rescale"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound the product by both extreme shifts."""
        x, m, s = inputs
        shape = same_rank(self, inputs)
        lo, hi = product_bounds(x, m)
        ends = [round_bounds(lo, hi, k) for k in (s.lo, s.hi)]
        return TensorType(self.dtype, shape, min(lo for lo, _ in ends), max(hi for _, hi in ends))

    def meaning(self, *inputs: Array) -> Array:
        """Multiply, then shift with rounding half up."""
        x, m, s = inputs
        return shift_signed(x * m, s)

    def peak(self, inputs: Types) -> int:
        """Bound the shifted product and the rounding half."""
        x, m, s = inputs
        product = x.peak * m.peak << max(-s.lo, 0)
        return max(product + ((1 << max(s.hi, 0)) >> 1), largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Multiply, shift, add the half and compare."""
        x, m, s = inputs
        wide = x.dtype.bits + m.dtype.bits
        return Work(
            muls={pair(x.dtype.bits, m.dtype.bits): out.size},
            shifts={wide: out.size},
            adds={wide: out.size},
            compares={wide: out.size},
            const_bits=m.size_bits + s.size_bits,
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )
