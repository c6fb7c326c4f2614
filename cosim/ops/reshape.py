"""Rename the axes of one token's value; no arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Reshape(Op):
    """Reshape from `source` to `target`, in row-major order."""

    source: tuple[int, ...]
    target: tuple[int, ...]

    name: ClassVar[str] = "reshape"

    def infer(self, inputs: Types) -> TensorType:
        """Require the declared source and as many elements."""
        (x,) = inputs
        if x.shape != self.source or prod(self.source) != prod(self.target):
            raise self.refuse(f"{list(self.source)} to {list(self.target)} does not fit {x}")
        return TensorType(x.dtype, self.target, x.lo, x.hi)

    def meaning(self, *inputs: Array) -> Array:
        """Keep leading axes, reshape the rest."""
        (x,) = inputs
        lead = x.shape[: len(x.shape) - len(self.source)]
        return namespace(x).reshape(x, (*lead, *self.target))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count nothing: it is wiring."""
        return Work()
