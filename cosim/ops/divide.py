"""Divide all but the last element of each row by the last: the end of a softmax.

Glossary (x [..., D + 1]; a numerator a, the last element l; F = `frac_bits`):
    n      bit length of max(l, 1)
    s      max(n - 24, 0): both sides are cut to 24 bits of the sum
    a'     round(a / 2^s), held to `most` * 2^24, which it never passes where |a| <= most * l
    m      the 16 highest bits of l, rounded down, in [2^15, 2^16)
    r      2^31 / m in [2^15, 2^16]: 128 segments of m >> 8, linear inside each
    y      round(a' r / 2^(15 + n - s - F)), which is a 2^F / l
The reciprocal is within 2^-15.6 of exact, by the doctest below; cutting m adds 2^-15 at most and
rounding a' 2^(F - 24) LSB, so that y is within 2^-14.2 of exact, and rounding. A sum of 0 or less,
which no softmax has, counts as 1.

>>> worst = max(abs(reciprocal(m) * m / 2**31 - 1) for m in range(1 << 15, 1 << 16))
>>> worst < 2**-15.6
True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, bit_length, namespace, shift_floor, shift_round
from cosim.ir.op import Op, Types
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair
from cosim.ops.chords import chords

M_BITS = 16
SEGMENT_BITS = 8
FIRST_SEGMENT = 1 << (M_BITS - 1 - SEGMENT_BITS)
GUARD = 4
SUM_BITS = 24
MOST_FRAC_BITS = 16


def _exact(m: int) -> int:
    """Return round(2^(31 + GUARD) / m) without floats."""
    top = 1 << (2 * M_BITS - 1 + GUARD)
    return (2 * top + m) // (2 * m)


BASE, FALL = chords(
    _exact, [s << SEGMENT_BITS for s in range(FIRST_SEGMENT, 2 * FIRST_SEGMENT + 1)]
)


def reciprocal(m: int) -> int:
    """Return 2^31 / m for one integer m in [2^15, 2^16), as the operator does."""
    k = (m >> SEGMENT_BITS) - FIRST_SEGMENT
    offset = m & ((1 << SEGMENT_BITS) - 1)
    return int(shift_round(BASE[k] - shift_floor(FALL[k] * offset, SEGMENT_BITS), GUARD))


@dataclass(frozen=True)
class Divide(Op):
    """Divide by the row's last element; input x [..., D + 1], out [..., D] of dtype, saturating.

    `most` bounds the quotient's magnitude: the largest value of a weighted mean, for instance.
    """

    frac_bits: int
    most: int
    dtype: IntType

    name: ClassVar[str] = "divide"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound by `most` and the reciprocal's error."""
        (x,) = inputs
        if not x.shape or x.shape[-1] < 2 or not 0 <= self.frac_bits <= MOST_FRAC_BITS:
            raise self.refuse(
                f"needs rows of at least 2 and frac_bits 0..{MOST_FRAC_BITS}, got {x} and "
                f"{self.frac_bits}"
            )
        if self.most < 1:
            raise self.refuse(f"most is {self.most}, must be at least 1")
        # The least sum, 1, has the least shift; what bounds a quotient by `most` no type can say.
        least = M_BITS - self.frac_bits
        top = ((self._cut(x) << M_BITS) + ((1 << least) >> 1)) >> least
        return TensorType(self.dtype, (*x.shape[:-1], x.shape[-1] - 1), -top, top)

    def meaning(self, *inputs: Array) -> Array:
        """Normalise the sum, look its reciprocal up, cut the numerators, multiply, shift."""
        (x,) = inputs
        xp = namespace(x)
        total = xp.clip(x[..., -1:], 1, None)
        n = bit_length(total)
        s = xp.clip(n - SUM_BITS, 0, None)
        low = self.most << SUM_BITS
        a = xp.clip(shift_round(x[..., :-1], s), -low, low)
        m = shift_floor(total << xp.clip(M_BITS - n, 0, None), xp.clip(n - M_BITS, 0, None))
        k = (m >> SEGMENT_BITS) - FIRST_SEGMENT
        base = xp.asarray(BASE, dtype=x.dtype, device=x.device)[k]
        fall = xp.asarray(FALL, dtype=x.dtype, device=x.device)[k]
        offset = m & ((1 << SEGMENT_BITS) - 1)
        r = shift_round(base - shift_floor(fall * offset, SEGMENT_BITS), GUARD)
        return shift_round(a * r, n - s + (M_BITS - 1 - self.frac_bits))

    def peak(self, inputs: Types) -> int:
        """Bound the rounding half of the cut, and the product with its own."""
        (x,) = inputs
        s = max(x.peak.bit_length() - SUM_BITS, 0)
        product = (self._cut(x) << M_BITS) + (1 << (M_BITS - 2 + SUM_BITS - self.frac_bits))
        return max(x.peak + ((1 << s) >> 1), product, self.most << SUM_BITS, 1 << (M_BITS + GUARD))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Find one reciprocal per row; shift, multiply and round each element."""
        (x,) = inputs
        rows = x.size // x.shape[-1]
        wide = self._cut(x).bit_length() + 1
        return Work(
            muls={pair(wide, M_BITS + 1): out.size, pair(M_BITS + 1, SEGMENT_BITS): rows},
            shifts={x.dtype.bits: x.size, wide + M_BITS: out.size},
            adds={wide + M_BITS: out.size},
            compares={wide: out.size},
            lookups={M_BITS + GUARD + 1: 2 * rows},
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )

    def _cut(self, x: TensorType) -> int:
        """Bound the magnitude of a'."""
        return min(x.peak, self.most << SUM_BITS)
