"""Evaluate a function of x >= 0 by segments that double in width: relative accuracy near zero.

Glossary:
    x     u-type fixed point; each octave [2^e, 2^(e+1)) has 2^M segments, M = `mantissa_bits`;
          below 2^M every integer has its own entry, so those values are exact table look-ups
    i     segment: x itself below 2^M, else ((e - M) << M) + (x >> (e - M)), e = floor(log2 x)
    base[i], slope[i]  value and rise per input LSB, with `guard` extra fraction bits
    y     round((base[i] + slope[i] * (x - x_i)) / 2^guard); the table covers all x of the type
Used for the decay's complement 1 - exp(-v), whose small values must keep their precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, bit_length, namespace, round_bounds, shift_round
from cosim.ir.op import Op, Types, largest
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair


def segment_count(hi: int, mantissa_bits: int) -> int:
    """Count the segments that cover 0..hi.

    >>> segment_count(15, 2)
    12
    """
    m = mantissa_bits
    if hi < (1 << m):
        return hi + 1
    e = hi.bit_length() - 1
    return ((e - m) << m) + (hi >> (e - m)) + 1


def segment_start(index: int, mantissa_bits: int) -> tuple[int, int]:
    """Return the first x of a segment and the log2 of its width.

    >>> [segment_start(i, 2) for i in (0, 3, 4, 7, 8, 11)]
    [(0, 0), (3, 0), (4, 0), (7, 0), (8, 1), (14, 1)]
    """
    m = mantissa_bits
    if index < (1 << m):
        return index, 0
    shift = (index >> m) - 1
    return ((index & ((1 << m) - 1)) + (1 << m)) << shift, shift


@dataclass(frozen=True)
class PwlLog(Op):
    """Interpolate on log-spaced segments; inputs x >= 0, base [S], slope [S]; out dtype."""

    mantissa_bits: int
    guard: int
    dtype: IntType

    name: ClassVar[str] = "pwl_log"
    saturates: ClassVar[bool] = True
    constants: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, inputs: Types) -> TensorType:
        """Bound by the largest base and the rise over the widest segment."""
        x, base, slope = inputs
        if self.mantissa_bits < 0 or self.guard < 0:
            raise self.refuse(
                f"mantissa_bits {self.mantissa_bits} and guard {self.guard} must not be negative"
            )
        if x.lo < 0:
            raise self.refuse(f"the input must not be negative, got {x}")
        need = segment_count(x.hi, self.mantissa_bits)
        if base.shape != slope.shape or len(base.shape) != 1 or base.shape[0] < need:
            raise self.refuse(
                f"inputs up to {x.hi} need {need} segments, got base {base} and slope {slope}"
            )
        bound = self._bound(inputs)
        return TensorType(self.dtype, x.shape, *round_bounds(-bound, bound, self.guard))

    def meaning(self, *inputs: Array) -> Array:
        """Find the octave and segment, then one multiply and one add."""
        x, base, slope = inputs
        xp = namespace(x)
        shift = bit_length(x) - 1 - self.mantissa_bits
        shift = xp.clip(shift, 0, 62)
        i = (shift << self.mantissa_bits) + (x >> shift)
        offset = x - ((x >> shift) << shift)
        return shift_round(base[i] + slope[i] * offset, self.guard)

    def peak(self, inputs: Types) -> int:
        """Bound the segment's number and the sum before the last shift."""
        _, base, _ = inputs
        index = max(base.shape[0], 1 + self.mantissa_bits)
        return max(self._bound(inputs) + (1 << self.guard), index, largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Find the leading one, look up, multiply, add, shift, compare with the ends."""
        x, base, slope = inputs
        return Work(
            lookups={base.dtype.bits + slope.dtype.bits: x.size},
            muls={pair(slope.dtype.bits, x.dtype.bits): x.size},
            adds={base.dtype.bits: x.size},
            shifts={x.dtype.bits: 2 * x.size},
            compares={x.dtype.bits: 2 * x.size},
            const_bits=base.size_bits + slope.size_bits,
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )

    def _bound(self, inputs: Types) -> int:
        x, base, slope = inputs
        reach = max(x.hi.bit_length() - 1 - self.mantissa_bits, 0)
        return base.peak + slope.peak * ((1 << reach) - 1)
