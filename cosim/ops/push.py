"""Push a value into a window of the last K: the delay line of a short convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Push(Op):
    """Shift the window by one and append x; inputs window [K, C] (oldest first) and x [C]."""

    name: ClassVar[str] = "push"

    def infer(self, inputs: Types) -> TensorType:
        """Require one type and shapes [K, C] and [C]."""
        window, x = inputs
        if len(window.shape) != 2 or window.shape[1:] != x.shape or window.dtype != x.dtype:
            raise self.refuse(f"expected window [K,C] and x [C] of one type, got {window} and {x}")
        return TensorType(window.dtype, window.shape, min(window.lo, x.lo), max(window.hi, x.hi))

    def meaning(self, *inputs: Array) -> Array:
        """Drop the oldest row and append x."""
        window, x = inputs
        return namespace(x).concat([window[..., 1:, :], x[..., None, :]], axis=-2)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Read the K - 1 kept rows and write one."""
        window, x = inputs
        kept = window.size_bits - x.size_bits
        return Work(
            in_bits=x.size_bits,
            out_bits=out.size_bits,
            state_read_bits=kept,
            state_write_bits=x.size_bits,
        )
