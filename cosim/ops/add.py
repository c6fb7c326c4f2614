"""Add two values of one fixed-point format and saturate: y = sat(a + b)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array
from cosim.ir.op import Op, Types, same_rank
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Add(Op):
    """Add elementwise, broadcasting; inputs a and b; out dtype."""

    dtype: IntType

    name: ClassVar[str] = "add"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Add the bounds."""
        a, b = inputs
        return TensorType(self.dtype, same_rank(self, inputs), a.lo + b.lo, a.hi + b.hi)

    def meaning(self, *inputs: Array) -> Array:
        """Add."""
        a, b = inputs
        return a + b

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Add and compare with the ends."""
        a, b = inputs
        bits = max(a.dtype.bits, b.dtype.bits)
        return Work(
            adds={bits: out.size},
            compares={bits + 1: out.size},
            in_bits=a.size_bits + b.size_bits,
            out_bits=out.size_bits,
        )
