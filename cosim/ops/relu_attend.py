"""Attend without an exponential: scores below zero count nothing, all others as they are.

Glossary: as in `attend`, and
    w      max(round(s scale_h / 2^shift_h), 0), at most 2^16 - 1: what saturates is held there
    a, l   sum of w v over the keys that the mask shows, and how many keys those are
The result is [a, l] per head; `divide` makes a / l of it: ReLU attention divided by the length. All
is exact in integers and in any order, so that no order of tiles is part of the meaning. Wortsman
et al., "Replacing softmax with ReLU in Vision Transformers" (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_round
from cosim.ir.op import Op, Types, exact_type
from cosim.ir.types import TensorType, u
from cosim.ir.work import Work, pair
from cosim.ops.attend import check_heads
from cosim.ops.masks import Mask, check_mask, most_keys, positions_of, shown_keys

WEIGHT = u(16)
MOST_SHIFT = 47


@dataclass(frozen=True)
class ReluAttend(Op):
    """Weigh values by the positive part of their keys' scores.

    Inputs q [H, D], keys [N, G, D], values [N, G, E], position [], scale [H] and shift [H]
    (constants, >= 0), newest position [] unless `causal`; out [H, E + 1].
    """

    tile: int
    window: int
    dilation: int = 1
    causal: bool = True
    blocks: tuple[int, ...] = ()

    name: ClassVar[str] = "relu_attend"
    constants: ClassVar[tuple[int, ...]] = (4, 5)

    @property
    def mask(self) -> Mask:
        """Return which keys count."""
        return Mask(self.tile, self.window, self.dilation, self.causal, self.blocks)

    def infer(self, inputs: Types) -> TensorType:
        """Bound by N weights of the largest value each."""
        q, keys, values, position, scale, shift, *rest = inputs
        check_heads(self, q, keys, values)
        heads = q.shape[0]
        fits = position.shape == () and scale.shape == shift.shape == (heads,)
        if not fits or scale.lo < 0 or len(rest) == self.causal:
            raise self.refuse(
                f"expected scale and shift [{heads}] >= 0 and a newest position [] unless causal; "
                f"got {', '.join(map(str, inputs[3:]))}"
            )
        if not 0 <= shift.lo <= shift.hi <= MOST_SHIFT:
            raise self.refuse(f"shift must lie in 0..{MOST_SHIFT}, got {shift}")
        check_mask(self, self.mask, position if self.causal else rest[0], keys.shape[0])
        count = most_keys(self.mask, keys.shape[0])
        most = count * WEIGHT.hi
        lo, hi = most * min(values.lo, 0), max(most * max(values.hi, 0), count)
        return exact_type(self, (heads, values.shape[-1] + 1), lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Score every key, cut below zero, sum."""
        q, keys, values, position, scale, shift, *rest = inputs
        xp = namespace(q)
        n, g, _ = keys.shape[-3:]
        share = q.shape[-2] // g
        q = xp.reshape(q, (*q.shape[:-2], g, share, q.shape[-1]))
        scale, shift = (xp.reshape(x, (g, share)) for x in (scale, shift))
        at = positions_of(position if self.causal else rest[0], n)
        see = shown_keys(self.mask, position, at)[..., None, None]
        s = xp.sum(q[..., None, :, :, :] * keys[..., :, :, None, :], axis=-1)
        w = xp.where(see, xp.clip(shift_round(s * scale, shift), 0, WEIGHT.hi), 0)
        mean = xp.sum(w[..., None] * values[..., :, :, None, :], axis=-4)
        count = xp.sum(xp.where(see, xp.ones_like(w), xp.zeros_like(w)), axis=-3)
        out = xp.concat([mean, count[..., None]], axis=-1)
        return xp.reshape(out, (*out.shape[:-3], g * share, out.shape[-1]))

    def peak(self, inputs: Types) -> int:
        """Bound the scaled scores with the half of their shift, the sums and the positions."""
        q, keys, _, position, scale, shift, *rest = inputs
        scores = q.shape[-1] * q.peak * keys.peak * max(scale.peak, 1)
        newest = position if self.causal else rest[0]
        places = newest.peak + position.peak + 2 * keys.shape[0]
        return max(self.infer(inputs).peak, scores + (1 << shift.hi), places, WEIGHT.hi)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count what a full cache costs: every key that the mask can show at once."""
        q, keys, values, _, scale, shift, *_ = inputs
        heads, n = q.shape[0], most_keys(self.mask, keys.shape[0])
        wide = (q.shape[-1] * q.peak * keys.peak).bit_length() + 1
        scores = Work(macs={pair(q.dtype.bits, keys.dtype.bits): heads * n * q.shape[-1]})
        return scores + Work(
            macs={pair(WEIGHT.bits, values.dtype.bits): heads * n * values.shape[-1]},
            muls={pair(wide, scale.dtype.bits): heads * n},
            shifts={wide: heads * n},
            adds={wide: heads * n},
            compares={wide: heads * n},
            const_bits=scale.size_bits + shift.size_bits,
            in_bits=q.size_bits,
            out_bits=out.size_bits,
            state_read_bits=n * (keys.size_bits + values.size_bits) // keys.shape[0],
        )
