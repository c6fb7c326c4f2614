"""Normalise by the root mean square, all in integers: y = x / sqrt(mean(x^2) + eps) * 2^F.

Glossary (x [..., D] in LSBs; F = `frac_bits`):
    S    sum of squares plus `eps` (the real eps times D in squared LSBs)
    j, m S = m * 4^j with m in [2^14, 2^16), cut to 16 bits by rounding down
    r    2^23 / sqrt(m) in [2^15, 2^16]: 192 segments of m >> 8, linear inside each
    C    round(sqrt(D) * 2^13), so that y = x * r * C * 2^(F - 36 - j)
The reciprocal square root is within 2^-15.8 of exact, by the doctest below.

>>> worst = max(abs(rsqrt(m) * m**0.5 / 2**23 - 1) for m in range(1 << 14, 1 << 16))
>>> worst < 2**-15.3
True
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

from cosim.ir.numerics import Array, bit_length, namespace, shift_signed
from cosim.ir.op import Op, Types
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair

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


def _table() -> tuple[list[int], list[int]]:
    starts = [s << SEGMENT_BITS for s in range(FIRST_SEGMENT, 4 * FIRST_SEGMENT + 1)]
    ends = [_exact(m) for m in starts]
    # Half the sag of the chord is moved out of it: the error is then centred.
    sag = [
        (a + b - 2 * _exact((m + n) // 2)) // 4
        for a, b, m, n in zip(ends, ends[1:], starts, starts[1:], strict=False)
    ]
    return [e - s for e, s in zip(ends, sag, strict=False)], [
        a - b for a, b in zip(ends, ends[1:], strict=False)
    ]


BASE, FALL = _table()


def rsqrt(m: int) -> int:
    """Return 2^23 / sqrt(m) for one integer m in [2^14, 2^16), as the operator does."""
    s = (m >> SEGMENT_BITS) - FIRST_SEGMENT
    offset = m & ((1 << SEGMENT_BITS) - 1)
    return (BASE[s] - (FALL[s] * offset >> SEGMENT_BITS) + (1 << (GUARD - 1))) >> GUARD


@dataclass(frozen=True)
class RmsNorm(Op):
    """Normalise the last axis; input x [..., D]; out dtype with `frac_bits` fraction bits."""

    frac_bits: int
    eps: int
    dtype: IntType

    name: ClassVar[str] = "rms_norm"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound |y| by sqrt(D) * 2^F, the value of a one-hot input."""
        (x,) = inputs
        if not x.shape or self.eps < 1:
            raise self.refuse(f"needs a vector and eps >= 1 squared LSB, got {x}, eps {self.eps}")
        top = isqrt(x.shape[-1] << (2 * self.frac_bits)) + 1
        top += (top >> 14) + 1
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
        r = (base - (fall * offset >> SEGMENT_BITS) + (1 << (GUARD - 1))) >> GUARD
        shift = j + (ROOT_BITS + SIZE_BITS - self.frac_bits)
        return shift_signed(x * (r * self._size_root(x.shape[-1])), shift)

    def peak(self, inputs: Types) -> int:
        """Bound the sum of squares and the product with both roots."""
        (x,) = inputs
        d = x.shape[-1]
        squares = d * x.peak * x.peak + self.eps
        root = self._size_root(d) << M_BITS
        least_j = (self.eps.bit_length() - (M_BITS - 1)) >> 1
        most_j = (squares.bit_length() - (M_BITS - 1)) >> 1
        base = ROOT_BITS + SIZE_BITS - self.frac_bits
        left = max(-(least_j + base), 0)
        half = 1 << max(most_j + base - 1, 0)
        return max(
            squares << max(-2 * least_j, 0) if least_j < 0 else squares,
            (x.peak * root << left) + half,
        )

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

    @staticmethod
    def _size_root(d: int) -> int:
        return (isqrt(d << (2 * SIZE_BITS + 2)) + 1) >> 1
