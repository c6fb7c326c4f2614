"""Join values along the last axis; no arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Concat(Op):
    """Concatenate any number of inputs of one declared type along the last axis."""

    name: ClassVar[str] = "concat"

    def infer(self, inputs: Types) -> TensorType:
        """Require one type and equal leading axes."""
        first = inputs[0]
        for t in inputs:
            if t.dtype != first.dtype or t.shape[:-1] != first.shape[:-1] or not t.shape:
                raise self.refuse(f"{first} and {t} differ in type or leading axes, or are scalars")
        size = sum(t.shape[-1] for t in inputs)
        lo, hi = min(t.lo for t in inputs), max(t.hi for t in inputs)
        return TensorType(first.dtype, (*first.shape[:-1], size), lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Concatenate."""
        return namespace(inputs[0]).concat(list(inputs), axis=-1)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count nothing: it is wiring."""
        return Work()
