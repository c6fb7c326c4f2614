"""Multiply two values, shift and saturate: y = sat(round(a * b / 2^s))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, shift_signed
from cosim.ir.op import Op, Types
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair
from cosim.ops.rescale import Rescale


@dataclass(frozen=True)
class Mul(Op):
    """Multiply elementwise, broadcasting; inputs a, b and constant shift s; out dtype."""

    dtype: IntType

    name: ClassVar[str] = "mul"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound the shifted product."""
        return Rescale(self.dtype).infer(inputs)

    def meaning(self, *inputs: Array) -> Array:
        """Multiply, then shift with rounding half up."""
        a, b, s = inputs
        return shift_signed(a * b, s)

    def peak(self, inputs: Types) -> int:
        """Bound the shifted product and the rounding half."""
        return Rescale(self.dtype).peak(inputs)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Multiply, shift, add the half and compare."""
        a, b, s = inputs
        wide = a.dtype.bits + b.dtype.bits
        return Work(
            muls={pair(a.dtype.bits, b.dtype.bits): out.size},
            shifts={wide: out.size},
            adds={wide: out.size},
            compares={wide: out.size},
            const_bits=s.size_bits,
            in_bits=a.size_bits + b.size_bits,
            out_bits=out.size_bits,
        )
