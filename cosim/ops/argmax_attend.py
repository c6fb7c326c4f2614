"""Attend to the one key of the largest score: hard attention, exact in integers.

Glossary: as in `attend`; of the keys that the mask shows, the one with the largest s = q_h . k_j
wins, the first place of the ring on a tie, and its value is the result. A query that sees no key
gets zeros. No scale, no exponential, no division; the order of tiles is no part of the meaning.
Yu et al., "k-means Mask Transformer" (2022) trains with such an arg-max.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work, pair
from cosim.ops.attend import check_heads
from cosim.ops.masks import Mask, check_mask, most_keys, positions_of, shown_keys


@dataclass(frozen=True)
class ArgmaxAttend(Op):
    """Take the value of the best key.

    Inputs q [H, D], keys [N, G, D], values [N, G, E], position [], newest position [] unless
    `causal`; out [H, E] of the values' type.
    """

    tile: int
    window: int
    dilation: int = 1
    causal: bool = True
    blocks: tuple[int, ...] = ()

    name: ClassVar[str] = "argmax_attend"

    @property
    def mask(self) -> Mask:
        """Return which keys count."""
        return Mask(self.tile, self.window, self.dilation, self.causal, self.blocks)

    def infer(self, inputs: Types) -> TensorType:
        """Bound by the values, and zero."""
        q, keys, values, position, *rest = inputs
        check_heads(self, q, keys, values)
        if position.shape != () or len(rest) == self.causal or len(rest) > 1:
            raise self.refuse(
                "expected a position [], and a newest position [] unless causal; got "
                f"{', '.join(map(str, inputs[3:]))}"
            )
        check_mask(self, self.mask, position if self.causal else rest[0], keys.shape[0])
        shape = (q.shape[0], values.shape[-1])
        return TensorType(values.dtype, shape, min(values.lo, 0), max(values.hi, 0))

    def meaning(self, *inputs: Array) -> Array:
        """Score every key, find the first best one, take its value."""
        q, keys, values, position, *rest = inputs
        xp = namespace(q)
        n, g, _ = keys.shape[-3:]
        share = q.shape[-2] // g
        q = xp.reshape(q, (*q.shape[:-2], g, share, q.shape[-1]))
        at = positions_of(position if self.causal else rest[0], n)
        see = shown_keys(self.mask, position, at)[..., None, None]
        s = xp.sum(q[..., None, :, :, :] * keys[..., :, :, None, :], axis=-1)
        lowest = xp.min(s, axis=-3, keepdims=True) - 1
        s = xp.where(see, s, lowest)
        hit = xp.astype((s == xp.max(s, axis=-3, keepdims=True)) & see, s.dtype)
        first = xp.where(xp.cumulative_sum(hit, axis=-3) == 1, hit, xp.zeros_like(hit))
        out = xp.sum(first[..., None] * values[..., :, :, None, :], axis=-4)
        return xp.reshape(out, (*out.shape[:-3], g * share, out.shape[-1]))

    def peak(self, inputs: Types) -> int:
        """Bound the scores, the values, the positions and the count of hits."""
        q, keys, values, position, *rest = inputs
        newest = position if self.causal else rest[0]
        places = newest.peak + position.peak + 2 * keys.shape[0]
        scores = q.shape[-1] * q.peak * keys.peak + 1
        return max(scores, values.peak, places, q.peak, keys.peak)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count what a full cache costs: one product and comparison a key, one value read."""
        q, keys, values, *_ = inputs
        heads, n = q.shape[0], most_keys(self.mask, keys.shape[0])
        wide = (q.shape[-1] * q.peak * keys.peak).bit_length() + 1
        return Work(
            macs={pair(q.dtype.bits, keys.dtype.bits): heads * n * q.shape[-1]},
            compares={wide: heads * n},
            in_bits=q.size_bits,
            out_bits=out.size_bits,
            state_read_bits=n * keys.size_bits // keys.shape[0] + out.size * values.dtype.bits,
        )
