"""Shift right by a fixed count, rounding down, and saturate: y = sat(floor(x / 2^s)).

Only where an outside format demands it (`cosim/ir/numerics.py`): LightMamba's released integer
graph truncates every accumulator so. Elsewhere `requant` rounds half up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, shift_floor
from cosim.ir.op import Op, Types
from cosim.ir.types import MAX_BITS, IntType, TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Truncate(Op):
    """Drop the lowest `shift` bits of x; out dtype."""

    shift: int
    dtype: IntType

    name: ClassVar[str] = "truncate"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Shift the bounds."""
        (x,) = inputs
        if not 0 <= self.shift <= MAX_BITS:
            raise self.refuse(f"shift is {self.shift}, must be 0..{MAX_BITS}")
        return TensorType(self.dtype, x.shape, x.lo >> self.shift, x.hi >> self.shift)

    def meaning(self, *inputs: Array) -> Array:
        """Shift with rounding down."""
        return shift_floor(inputs[0], self.shift)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Compare with the ends; a fixed shift is wiring."""
        (x,) = inputs
        return Work(compares={x.dtype.bits: out.size}, in_bits=x.size_bits, out_bits=out.size_bits)
