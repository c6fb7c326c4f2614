"""Clip to a constant range: y = min(max(x, low), high)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Clip(Op):
    """Clip as part of the model's function (not counted as saturation); out type of the input."""

    low: int
    high: int

    name: ClassVar[str] = "clip"

    def infer(self, inputs: Types) -> TensorType:
        """Clip the bounds."""
        (x,) = inputs
        if self.low > self.high or not x.dtype.holds(self.low, self.high):
            raise self.refuse(f"range {self.low}..{self.high} is empty or outside {x.dtype}")
        lo, hi = (min(max(b, self.low), self.high) for b in (x.lo, x.hi))
        return TensorType(x.dtype, x.shape, lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Compare with both ends."""
        return namespace(inputs[0]).clip(inputs[0], self.low, self.high)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Compare twice."""
        (x,) = inputs
        return Work(
            compares={x.dtype.bits: 2 * x.size}, in_bits=x.size_bits, out_bits=out.size_bits
        )
