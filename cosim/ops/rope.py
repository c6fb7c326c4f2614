"""Turn pairs of elements by an angle: rotary positions, paired as Llama pairs them.

Glossary (x [H, E], or with more or fewer axes in front; F = `frac_bits`):
    turn [1, E]  cosine (first E/2) and sine (last E/2) of each pair's angle, F fraction bits
    low, high    the two halves of x: pair j is (x_j, x_{j + E/2})
    y_low        round((low cos - high sin) / 2^F)
    y_high       round((high cos + low sin) / 2^F)
Su et al., "RoFormer" (2021). `turn` is a row of a table (`embed`) or comes from `turn`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, round_bounds, shift_round
from cosim.ir.op import Op, Types, largest
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class Rope(Op):
    """Turn the pairs of the last axis; inputs x [H, E], turn [1, E]; out dtype, saturating."""

    frac_bits: int
    dtype: IntType

    name: ClassVar[str] = "rope"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound by two products, each of the largest element and the largest of `turn`."""
        x, turn = inputs
        if (
            not x.shape
            or x.shape[-1] % 2
            or turn.shape != (*(1,) * (len(x.shape) - 1), x.shape[-1])
        ):
            raise self.refuse(
                f"expected x [H, E] with E even and turn [1, E] of as many axes; got {x} and {turn}"
            )
        if self.frac_bits < 0:
            raise self.refuse(f"frac_bits {self.frac_bits} must not be negative")
        bound = self._bound(inputs)
        return TensorType(self.dtype, x.shape, *round_bounds(-bound, bound, self.frac_bits))

    def meaning(self, *inputs: Array) -> Array:
        """Multiply both halves by cosine and sine; add, round once."""
        x, turn = inputs
        xp = namespace(x)
        half = x.shape[-1] // 2
        low, high = x[..., :half], x[..., half:]
        cos, sin = turn[..., :half], turn[..., half:]
        y = xp.concat([low * cos - high * sin, high * cos + low * sin], axis=-1)
        return shift_round(y, self.frac_bits)

    def peak(self, inputs: Types) -> int:
        """Bound the sum of two products before the shift."""
        return max(self._bound(inputs) + (1 << self.frac_bits), largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count two products, one addition and one shift an element."""
        x, turn = inputs
        wide = x.dtype.bits + turn.dtype.bits
        return Work(
            muls={pair(x.dtype.bits, turn.dtype.bits): 2 * x.size},
            adds={wide: 2 * x.size},
            shifts={wide: x.size},
            compares={out.dtype.bits: x.size},
            in_bits=x.size_bits + turn.size_bits,
            out_bits=out.size_bits,
        )

    @staticmethod
    def _bound(inputs: Types) -> int:
        x, turn = inputs
        return 2 * x.peak * turn.peak
