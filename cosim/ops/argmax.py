"""Return the index of the largest element of the last axis; the first one on a tie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType, smallest_type
from cosim.ir.work import Work


@dataclass(frozen=True)
class Argmax(Op):
    """Choose the greedy token; input x [..., V], out index [...]."""

    name: ClassVar[str] = "argmax"

    def infer(self, inputs: Types) -> TensorType:
        """Bound the index by the axis."""
        (x,) = inputs
        if not x.shape:
            raise self.refuse(f"needs a vector, got {x}")
        last = x.shape[-1] - 1
        return TensorType(smallest_type(0, last), x.shape[:-1], 0, last)

    def meaning(self, *inputs: Array) -> Array:
        """Find the largest value, then the first index that holds it."""
        (x,) = inputs
        xp = namespace(x)
        hit = x == xp.max(x, axis=-1, keepdims=True)
        # 0/1 flags have one maximum value, and both libraries promise its first index only for
        # numpy; counting the flags before the first hit is the same on both.
        seen = xp.cumulative_sum(xp.astype(hit, x.dtype), axis=-1)
        return xp.sum(xp.astype(seen == 0, x.dtype), axis=-1)

    def peak(self, inputs: Types) -> int:
        """Bound the input and the count of flags."""
        (x,) = inputs
        return max(x.peak, x.shape[-1])

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Compare every element once."""
        (x,) = inputs
        return Work(compares={x.dtype.bits: x.size}, in_bits=x.size_bits, out_bits=out.size_bits)
