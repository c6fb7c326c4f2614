"""Count steps up to a limit: y = min(x + 1, limit).

The state that counts starts at 0; executors refuse a window that would pass the limit, because
what it numbers (the places of a cache, the rows of a table of positions) ends there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Count(Op):
    """Add one, at most up to `limit`; input x of a type that holds 0..limit."""

    limit: int

    name: ClassVar[str] = "count"

    def infer(self, inputs: Types) -> TensorType:
        """Bound by the limit."""
        (x,) = inputs
        if self.limit < 1 or x.lo < 0 or x.hi > self.limit or not x.dtype.holds(0, self.limit):
            raise self.refuse(f"limit {self.limit} must be at least 1 and hold {x}, from 0 on")
        return TensorType(x.dtype, x.shape, min(x.lo + 1, self.limit), min(x.hi + 1, self.limit))

    def meaning(self, *inputs: Array) -> Array:
        """Add, then compare with the limit."""
        (x,) = inputs
        return namespace(x).clip(x + 1, 0, self.limit)

    def peak(self, inputs: Types) -> int:
        """Bound the sum."""
        return max(self.limit, inputs[0].peak) + 1

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Add and compare once."""
        (x,) = inputs
        return Work(
            adds={x.dtype.bits: x.size},
            compares={x.dtype.bits: x.size},
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )
