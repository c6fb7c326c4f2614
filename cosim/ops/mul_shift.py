"""Multiply two scaled codes and bring the product to fixed point: floor((a b << (s + t)) / 2^d).

Glossary (all broadcast):
    a, b  codes;  s, t  their scales' exponents, >= 0: the values are a 2^s and b 2^t
    d     `down`, the fraction bits to drop, rounding down
The product is exact before the last shift. Only where an outside format demands the floor:
LightMamba's released integer graph multiplies so; its hardware is a multiplier as wide as the
codes, and a shifter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, shift_floor, shift_left
from cosim.ir.op import Op, Types, largest, product_bounds, same_rank
from cosim.ir.types import MAX_BITS, IntType, TensorType
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class MulShift(Op):
    """Multiply elementwise, broadcasting; inputs a, b, s, t; out dtype."""

    down: int
    dtype: IntType

    name: ClassVar[str] = "mul_shift"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound the shifted product by both extreme shifts."""
        lo, hi = shifted_product_bounds(self, inputs, self.down)
        return TensorType(self.dtype, same_rank(self, inputs), lo >> self.down, hi >> self.down)

    def meaning(self, *inputs: Array) -> Array:
        """Multiply, shift left by both exponents, then right with rounding down."""
        a, b, s, t = inputs
        return shift_floor(shift_left(a * b, s + t), self.down)

    def peak(self, inputs: Types) -> int:
        """Bound the product shifted left."""
        return shifted_product_peak(inputs)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Multiply the codes, add the exponents, shift and compare with the ends."""
        a, b, s, t = inputs
        wide = a.dtype.bits + b.dtype.bits + s.hi + t.hi
        return Work(
            muls={pair(a.dtype.bits, b.dtype.bits): out.size},
            adds={max(s.dtype.bits, t.dtype.bits): out.size},
            shifts={wide: out.size},
            compares={wide: out.size},
            in_bits=sum(x.size_bits for x in inputs),
            out_bits=out.size_bits,
        )


def shifted_product_bounds(op: Op, inputs: Types, down: int) -> tuple[int, int]:
    """Return the bounds of a b << (s + t); raise UserError where a shift is not legal."""
    a, b, s, t = inputs
    if not 0 <= down <= MAX_BITS:
        raise op.refuse(f"down is {down}, must be 0..{MAX_BITS}")
    if s.lo < 0 or t.lo < 0 or s.hi + t.hi > MAX_BITS:
        raise op.refuse(
            f"exponents {s} and {t} must be at least 0 and add up to at most {MAX_BITS}"
        )
    lo, hi = product_bounds(a, b)
    ends = [x << e for x in (lo, hi) for e in (s.lo + t.lo, s.hi + t.hi)]
    return min(ends), max(ends)


def shifted_product_peak(inputs: Types) -> int:
    """Bound every intermediate of a b << (s + t)."""
    a, b, s, t = inputs
    return max(a.peak * b.peak << (s.hi + t.hi), s.hi + t.hi, largest(inputs))
