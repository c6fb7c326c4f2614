"""Normalise by the root mean square, all in integers: y = x / sqrt(mean(x^2) + eps) * 2^F.

Glossary (x [..., D] in LSBs; F = `frac_bits`):
    S    sum of squares plus `eps` (the real eps times D in squared LSBs)
    j, m S = m * 4^j with m in [2^14, 2^16), cut to 16 bits by rounding down
    r    2^23 / sqrt(m) in [2^15, 2^16]: 192 segments of m >> 8, linear inside each
    C    round(sqrt(D) * 2^13), so that y = x * r * C * 2^(F - 36 - j)
The reciprocal square root is within 2^-15.5 of exact, by the doctest below; cutting m adds
2^-15 at most and rounding C 2^-14.5 / sqrt(D), so that y is within 2^-13 of exact, and rounding.

>>> worst = max(abs(rsqrt(m) * m**0.5 / 2**23 - 1) for m in range(1 << 14, 1 << 16))
>>> worst < 2**-15.5
True
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

from cosim.ir.numerics import (
    Array,
    bit_length,
    namespace,
    round_bounds,
    shift_floor,
    shift_round,
    shift_signed,
)
from cosim.ir.op import Op, Types
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair
from cosim.ops.chords import chords

M_BITS = 16
SEGMENT_BITS = 8
FIRST_SEGMENT = 1 << (M_BITS - 2 - SEGMENT_BITS)
ROOT_BITS = 23
GUARD = 4
SIZE_BITS = 13


def _exact(m: int) -> int:
    """Return round(2^(23 + GUARD) / sqrt(m)) without floats."""
    scale = 1 << (2 * (ROOT_BITS + GUARD) + 2)
    return (isqrt(scale // m) + 1) >> 1


BASE, FALL = chords(
    _exact, [s << SEGMENT_BITS for s in range(FIRST_SEGMENT, 4 * FIRST_SEGMENT + 1)]
)


def rsqrt(m: int) -> int:
    """Return 2^23 / sqrt(m) for one integer m in [2^14, 2^16), as the operator does."""
    s = (m >> SEGMENT_BITS) - FIRST_SEGMENT
    offset = m & ((1 << SEGMENT_BITS) - 1)
    return int(shift_round(BASE[s] - shift_floor(FALL[s] * offset, SEGMENT_BITS), GUARD))


@dataclass(frozen=True)
class RmsNorm(Op):
    """Normalise the last axis; input x [..., D]; out dtype with `frac_bits` fraction bits."""

    frac_bits: int
    eps: int
    dtype: IntType

    name: ClassVar[str] = "rms_norm"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound |y| by sqrt(D) * 2^F, the value of a one-hot input, and by the largest root."""
        (x,) = inputs
        if not x.shape or self.eps < 1 or self.frac_bits < 0:
            raise self.refuse(
                f"needs a vector, eps >= 1 squared LSB and frac_bits >= 0, got {x}, "
                f"eps {self.eps} and frac_bits {self.frac_bits}"
            )
        one_hot = isqrt(x.shape[-1] << (2 * self.frac_bits)) + 1
        one_hot += (one_hot >> 13) + 1
        _, steepest = round_bounds(0, x.peak * self._root_peak(inputs), self._shifts(inputs)[0])
        top = min(one_hot, steepest)
        return TensorType(self.dtype, x.shape, -top, top)

    def meaning(self, *inputs: Array) -> Array:
        """Sum the squares, normalise the sum, look the root up, multiply twice, shift once."""
        (x,) = inputs
        xp = namespace(x)
        s = xp.sum(x * x, axis=-1, keepdims=True) + self.eps
        j = (bit_length(s) - (M_BITS - 1)) >> 1
        m = xp.where(j >= 0, s >> xp.clip(j * 2, 0, 62), s << xp.clip(j * -2, 0, 62))
        i = (m >> SEGMENT_BITS) - FIRST_SEGMENT
        base = xp.asarray(BASE, dtype=x.dtype, device=x.device)[i]
        fall = xp.asarray(FALL, dtype=x.dtype, device=x.device)[i]
        offset = m & ((1 << SEGMENT_BITS) - 1)
        r = shift_round(base - shift_floor(fall * offset, SEGMENT_BITS), GUARD)
        shift = j + (ROOT_BITS + SIZE_BITS - self.frac_bits)
        return shift_signed(x * (r * self._size_root(x.shape[-1])), shift)

    def peak(self, inputs: Types) -> int:
        """Bound the sum of squares and the product with both roots."""
        (x,) = inputs
        least, most = self._shifts(inputs)
        product = max(x.peak, 1) * self._root_peak(inputs) << max(-least, 0)
        # The normalised sum m stays below 2^16, whichever way it is shifted.
        return max(self._squares(inputs), 1 << M_BITS, product + (1 << max(most - 1, 0)))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count a square and a product per element, and one root per vector."""
        (x,) = inputs
        rows = x.size // x.shape[-1]
        wide = x.dtype.bits + M_BITS
        squares = Work(macs={pair(x.dtype.bits, x.dtype.bits): x.size})
        return squares + Work(
            muls={pair(x.dtype.bits, 2 * M_BITS): x.size},
            shifts={wide: x.size},
            adds={wide: x.size},
            compares={wide: x.size},
            lookups={M_BITS + GUARD: 2 * rows},
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )

    def _squares(self, inputs: Types) -> int:
        """Bound the sum of squares plus eps."""
        (x,) = inputs
        return x.shape[-1] * x.peak * x.peak + self.eps

    def _shifts(self, inputs: Types) -> tuple[int, int]:
        """Return the smallest and largest last shift, those of the smallest and largest sum."""
        ends = (self.eps, self._squares(inputs))
        least, most = ((s.bit_length() - (M_BITS - 1)) >> 1 for s in ends)
        base = ROOT_BITS + SIZE_BITS - self.frac_bits
        return least + base, most + base

    def _root_peak(self, inputs: Types) -> int:
        """Bound r * C."""
        return self._size_root(inputs[0].shape[-1]) << M_BITS

    @staticmethod
    def _size_root(d: int) -> int:
        return (isqrt(d << (2 * SIZE_BITS + 2)) + 1) >> 1
