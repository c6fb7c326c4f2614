"""Add a key and its value to a decaying weighted sum in powers of two: RWKV-4's recurrence.

Glossary (per channel; F = `frac_bits` of an octave, Q = `one_bits`, one = 2^Q):
    p, q, o   state: sums of weight times value, of weights, and the exponent of both: a sum is
              p 2^(o / 2^F) and q 2^(o / 2^F); q lies in one .. 2 one once a key was seen
    k, v      key, an exponent like o, and value
    s         what o moves by first: the decay, or 0 where the sum is only read
    d         o + s - k
    a, b      weights of old and new: one and 2^-|d|, the smaller exponent has the smaller
    p'        round(p a / one) + v b, likewise q' = round(q a / one) + b, o' = max(o + s, k)
Where q' has reached 2 one, p' and q' are halved (half up) and o' rises by an octave. RWKV-4 reads
p' / q' of (k + bonus, v) with s 0, and its next state is p', q', o' of (k, v) with s the decay. A
decay is thus a plain addition, which never rounds; sums round only where a key outdoes them.

2^-f is linear between 64 entries an octave, within 2^-15.8 of it by the doctest below; so is
2^-|d|, but for its own rounding to 1 / one.

>>> points = [(x, power(x, 16, 24) / 2**24) for x in range(0, 1 << 16, 7)]
>>> max(abs(y * 2 ** (x / 2**16) - 1) for x, y in points) < 2**-15.8
True

No saturation from a start of zeros: |p'| <= V (2 one + 2^(F + 1)), V the largest |v|. For |p| <=
V q + c holds after a step with c' = a / one c + V / 2 + 1 where it held before, the halving halves
c and adds 1 / 2, and a / one is below 1 - 2^-F / 1.45 where anything rounds at all. A type of more
than log2(V) + Q + 2 bits is wide enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import ClassVar

import numpy as np

from cosim.ir.numerics import Array, namespace, shift_floor, shift_round
from cosim.ir.op import Op, Types, largest
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair

SEGMENT_BITS = 6
MOST_ONE_BITS = 30


@cache
def power_table(one_bits: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return 2^(Q - i / 64) at the start of every segment, and its fall over the segment."""
    count = 1 << SEGMENT_BITS
    starts = [round(2.0 ** (one_bits - i / count)) for i in range(count + 1)]
    return tuple(starts[:-1]), tuple(a - b for a, b in pairwise(starts))


def power(d: int, frac_bits: int, one_bits: int) -> int:
    """Return 2^(Q - d / 2^F) for one integer d >= 0, as the operator does.

    >>> power(0, 4, 10), power(16, 4, 10), power(8, 4, 10), power(176, 4, 10)
    (1024, 512, 724, 1)
    """
    return int(_power(np.asarray(d), frac_bits, one_bits))


def _power(d: Array, frac_bits: int, one_bits: int) -> Array:
    xp = namespace(d)
    starts, falls = (xp.asarray(t, dtype=d.dtype, device=d.device) for t in power_table(one_bits))
    inside = d & ((1 << frac_bits) - 1)
    fine = max(frac_bits - SEGMENT_BITS, 0)
    i = shift_floor(inside, fine) << max(SEGMENT_BITS - frac_bits, 0)
    offset = inside & ((1 << fine) - 1)
    value = starts[i] - shift_round(falls[i] * offset, fine)
    return shift_round(value, xp.clip(shift_floor(d, frac_bits), 0, one_bits + 2))


@dataclass(frozen=True)
class Wkv(Op):
    """Take a key and a value in; inputs state [C, 3], k [C], v [C], s [C]; out [C, 3] of dtype."""

    frac_bits: int
    one_bits: int
    dtype: IntType

    name: ClassVar[str] = "wkv"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound the sums by the old ones and a full weight, the exponent by the larger one."""
        state, k, _, s = inputs
        channels = state.shape[:1]
        fits = len(state.shape) == 2 and state.shape[1] == 3
        if not fits or {t.shape for t in inputs[1:]} != {channels}:
            got = ", ".join(map(str, inputs))
            raise self.refuse(f"expected state [C,3], k, v and s [C]; got {got}")
        if not 0 <= self.frac_bits <= MOST_ONE_BITS or not 1 <= self.one_bits <= MOST_ONE_BITS:
            raise self.refuse(
                f"frac_bits {self.frac_bits} and one_bits {self.one_bits} must be 0 and 1 to "
                f"{MOST_ONE_BITS}"
            )
        top = self._sum_peak(inputs)
        exponent = max(state.hi + s.hi, k.hi) + (1 << self.frac_bits)
        return TensorType(self.dtype, state.shape, min(-top, k.lo), max(top, exponent))

    def meaning(self, *inputs: Array) -> Array:
        """Weigh, add, halve."""
        state, k, v, s = inputs
        xp = namespace(state)
        p, q, o = state[..., 0], state[..., 1], state[..., 2] + s
        d = o - k
        small = _power(xp.abs(d), self.frac_bits, self.one_bits)
        one = xp.full_like(small, 1 << self.one_bits)
        a, b = xp.where(d < 0, small, one), xp.where(d < 0, one, small)
        p = shift_round(p * a, self.one_bits) + v * b
        q = shift_round(q * a, self.one_bits) + b
        full = q >= (2 << self.one_bits)
        p, q = xp.where(full, shift_round(p, 1), p), xp.where(full, shift_round(q, 1), q)
        o = xp.maximum(o, k) + xp.where(full, xp.full_like(d, 1 << self.frac_bits), d * 0)
        return xp.stack([p, q, o], axis=-1)

    def peak(self, inputs: Types) -> int:
        """Bound the products, the sums and the distance of exponents."""
        state, k, _, s = inputs
        products = (state.peak << self.one_bits) + (1 << self.one_bits)
        fine = max(self.frac_bits - SEGMENT_BITS, 0)
        table = 1 << (self.one_bits + fine + 1)
        distance = state.peak + s.peak + k.peak + (1 << self.frac_bits)
        return max(products, self._sum_peak(inputs), table, distance, largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count three products by a weight, one interpolation and three sums per channel."""
        state, k, v, s = inputs
        channels, bits, weight = k.size, state.dtype.bits, self.one_bits + 1
        fine = max(self.frac_bits - SEGMENT_BITS, 1)
        return Work(
            muls={pair(bits, weight): 2 * channels, pair(self.one_bits, fine): channels},
            macs={pair(v.dtype.bits, weight): channels},
            adds={bits: 5 * channels},
            shifts={bits: 4 * channels, weight: channels},
            compares={bits: 2 * channels},
            lookups={weight + self.one_bits: channels},
            in_bits=k.size_bits + v.size_bits + s.size_bits,
            out_bits=out.size_bits,
            state_read_bits=state.size_bits,
            state_write_bits=out.size_bits,
        )

    def _sum_peak(self, inputs: Types) -> int:
        state, _, v, _ = inputs
        return state.peak + (max(v.peak, 1) << self.one_bits) + 1
