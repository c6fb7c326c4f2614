"""Subtract the mean of the last axis: the first half of LayerNorm.

y = x - round(sum(x) * R / 2^s) with R = round(2^s / D), s = 16 + bit_length(D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_round
from cosim.ir.op import Op, Types, exact_type
from cosim.ir.types import TensorType
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class Center(Op):
    """Centre the last axis; input x [..., D]; out one bit wider."""

    name: ClassVar[str] = "center"

    def infer(self, inputs: Types) -> TensorType:
        """Bound by the spread of the input, plus the mean's rounding."""
        (x,) = inputs
        if not x.shape:
            raise self.refuse(f"needs a vector, got {x}")
        spread = x.hi - x.lo
        # The multiplier is off by less than 2^-16 of itself and the mean is rounded.
        spread += (x.peak >> 15) + 1
        return exact_type(self, x.shape, -spread, spread)

    def meaning(self, *inputs: Array) -> Array:
        """Sum, multiply by the reciprocal of D, round, subtract."""
        (x,) = inputs
        d = x.shape[-1]
        s = self._shift(d)
        total = namespace(x).sum(x, axis=-1, keepdims=True)
        return x - shift_round(total * (((2 << s) + d) // (2 * d)), s)

    def peak(self, inputs: Types) -> int:
        """Bound the sum times the reciprocal."""
        (x,) = inputs
        d = x.shape[-1]
        s = self._shift(d)
        return d * x.peak * (((2 << s) + d) // (2 * d)) + (1 << s)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Add each element twice, multiply once per vector."""
        (x,) = inputs
        rows = x.size // x.shape[-1]
        wide = x.dtype.bits + x.shape[-1].bit_length()
        return Work(
            adds={wide: 2 * x.size},
            muls={pair(wide, 17): rows},
            shifts={wide: rows},
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )

    @staticmethod
    def _shift(d: int) -> int:
        return 16 + d.bit_length()
