"""Take a range of the last axis; no arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Slice(Op):
    """Take elements start to stop (exclusive) of the last axis."""

    start: int
    stop: int

    name: ClassVar[str] = "slice"

    def infer(self, inputs: Types) -> TensorType:
        """Require a range inside the axis."""
        (x,) = inputs
        if not x.shape or not 0 <= self.start < self.stop <= x.shape[-1]:
            raise self.refuse(f"range {self.start}..{self.stop} lies outside {x}")
        return TensorType(x.dtype, (*x.shape[:-1], self.stop - self.start), x.lo, x.hi)

    def meaning(self, *inputs: Array) -> Array:
        """Slice."""
        return inputs[0][..., self.start : self.stop]

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count nothing: it is wiring."""
        return Work()
