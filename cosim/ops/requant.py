"""Shift to another fixed-point format and saturate: y = sat(round(x / 2^s))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, round_bounds, shift_signed
from cosim.ir.op import Op, Types, largest, same_rank
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Requant(Op):
    """Shift right by s (left where s < 0) and saturate; inputs x and constant s, broadcast."""

    dtype: IntType

    name: ClassVar[str] = "requant"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound the shifted value by both extreme shifts."""
        x, s = inputs
        shape = same_rank(self, inputs)
        ends = [round_bounds(x.lo, x.hi, k) for k in (s.lo, s.hi)]
        return TensorType(self.dtype, shape, min(lo for lo, _ in ends), max(hi for _, hi in ends))

    def meaning(self, *inputs: Array) -> Array:
        """Shift with rounding half up."""
        x, s = inputs
        return shift_signed(x, s)

    def peak(self, inputs: Types) -> int:
        """Bound the left-shifted value and the rounding half."""
        x, s = inputs
        return max((x.peak << max(-s.lo, 0)) + ((1 << max(s.hi, 0)) >> 1), largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Shift, add the half and compare with the ends."""
        x, s = inputs
        return Work(
            shifts={x.dtype.bits: out.size},
            adds={x.dtype.bits: out.size},
            compares={x.dtype.bits: out.size},
            const_bits=s.size_bits,
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )
