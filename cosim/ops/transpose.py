"""Put the axes of one token's value in another order; no arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Transpose(Op):
    """Let axis k of the result be axis `order[k]` of the input."""

    order: tuple[int, ...]

    name: ClassVar[str] = "transpose"

    def infer(self, inputs: Types) -> TensorType:
        """Require an order of all axes."""
        (x,) = inputs
        if sorted(self.order) != list(range(len(x.shape))):
            raise self.refuse(f"{list(self.order)} is no order of the axes of {x}")
        return TensorType(x.dtype, tuple(x.shape[k] for k in self.order), x.lo, x.hi)

    def meaning(self, *inputs: Array) -> Array:
        """Permute the last axes, keep the leading ones."""
        (x,) = inputs
        lead = x.ndim - len(self.order)
        return namespace(x).permute_dims(x, (*range(lead), *(lead + k for k in self.order)))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count nothing: it is wiring."""
        return Work()
