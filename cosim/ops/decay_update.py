"""Update a decaying matrix state with one rounding: h' = round(h (1 - k) + u b).

Glossary (all broadcast to the state's shape; F = `decay_bits`):
    h     state, fixed point
    k     1 - decay as k / 2^F, 0 <= k <= 2^F: slow decays live in its small values
    u, b  the two factors of the rank-one term (Mamba: u = dt * x, b = B)
    lift  constant left shift that brings u*b to the fraction bits of h * 2^F
    h'    = sat(round((h * (2^F - k) + (u * b << lift)) / 2^F))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, round_bounds, shift_left, shift_round
from cosim.ir.op import Op, Types, largest, product_bounds, same_rank
from cosim.ir.types import MAX_BITS, IntType, TensorType
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class DecayUpdate(Op):
    """Decay the state and add a rank-one term; inputs h, k, u, b, lift; out dtype, saturating."""

    decay_bits: int
    dtype: IntType

    name: ClassVar[str] = "decay_update"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound the sum of both terms."""
        h, k, u, b, lift = inputs
        shape = same_rank(self, inputs)
        if shape != h.shape:
            raise self.refuse(f"operands broadcast to {list(shape)}, the state is {h}")
        if self.decay_bits < 0:
            raise self.refuse(f"decay_bits is {self.decay_bits}, must not be negative")
        if k.lo < 0 or k.hi > (1 << self.decay_bits):
            raise self.refuse(f"k must lie in 0..2^{self.decay_bits}, got {k}")
        if lift.lo < 0 or lift.hi >= MAX_BITS:
            raise self.refuse(f"lift must lie in 0..{MAX_BITS - 1}, got {lift}")
        lo, hi = product_bounds(u, b)
        lo = (min(h.lo, 0) << self.decay_bits) + (min(lo, 0) << lift.hi)
        hi = (max(h.hi, 0) << self.decay_bits) + (max(hi, 0) << lift.hi)
        return TensorType(self.dtype, shape, *round_bounds(lo, hi, self.decay_bits))

    def meaning(self, *inputs: Array) -> Array:
        """Sum at full precision, round once."""
        h, k, u, b, lift = inputs
        kept = h * ((1 << self.decay_bits) - k)
        return shift_round(kept + shift_left(u * b, lift), self.decay_bits)

    def peak(self, inputs: Types) -> int:
        """Bound the sum before rounding."""
        h, _, u, b, lift = inputs
        total = ((h.peak + 1) << self.decay_bits) + (u.peak * b.peak << lift.hi)
        return max(total, largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count two multiplications, an addition and a rounding per state element."""
        h, k, u, b, lift = inputs
        wide = h.dtype.bits + self.decay_bits
        rank_one = Work(macs={pair(u.dtype.bits, b.dtype.bits): out.size})
        return rank_one + Work(
            macs={pair(h.dtype.bits, self.decay_bits): out.size},
            adds={wide: out.size},
            shifts={wide: out.size},
            compares={wide: out.size},
            const_bits=lift.size_bits,
            in_bits=k.size_bits + u.size_bits + b.size_bits,
            out_bits=out.size_bits,
            state_read_bits=h.size_bits,
            state_write_bits=out.size_bits,
        )
