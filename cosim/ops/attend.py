"""Attend to a cache of keys and values by an online softmax of base 2, up to the division.

Glossary (H query heads, G key heads, head h reads g = h // (H / G); N places, D channels):
    p, j   position of the query; position in place c of the ring, newest - (newest - c) mod N
    s      q_h . k_j, exact
    t      round((s scale_h - slope_h |p - j|) / 2^shift_h), the exponent in 1/256 octaves
    M      the running maximum of t's whole octaves, t >> 8
    w      round(2^(23 + (t - 256 M) / 256)): 24 bits; 2^15 2^(f/256) from a table of 256 entries
    l, a   sum of w, and of w v, over the keys that the mask shows
The places are visited in tiles of `tile`, in order: a tile's scores first, then M, then l and a are
shifted right by what M rose (half up), then the tile's terms are added. The order is part of the
meaning: M rises by whole octaves, and each rise rounds. The result is [a, l] per head; `divide`
makes a / l of it.

The mask shows key j to query p where j is in the cache, j <= p if `causal`, |p - j| < `window`,
|p - j| is a multiple of `dilation`, and the key's tile is listed for the query's tile in `blocks`
(pairs of query tile and key tile, flat; empty: all).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_floor, shift_round
from cosim.ir.op import Op, Types, exact_type
from cosim.ir.types import TensorType
from cosim.ir.work import Work, pair
from cosim.ops.masks import Mask, check_mask, most_keys, positions_of, shown_keys

OCTAVE_BITS = 8
TABLE_BITS = 16
WEIGHT_BITS = 24
POWERS = tuple(round(2.0 ** (TABLE_BITS - 1 + f / 256)) for f in range(1 << OCTAVE_BITS))
MOST_WEIGHT = POWERS[-1] << (WEIGHT_BITS - TABLE_BITS)
# Sums stay below 2^SUM_BITS; a rise by as much leaves nothing of them.
SUM_BITS = 48
EXPONENT_LIMIT = 1 << 30
LOWEST = -(EXPONENT_LIMIT >> OCTAVE_BITS)


@dataclass(frozen=True)
class Attend(Op):
    """Weigh values by their keys.

    Inputs q [H, D], keys [N, G, D], values [N, G, E], position [], scale [H] and shift [H]
    (constants, >= 0), slope [H] (constant) if `alibi`, newest position [] unless `causal`; out
    [H, E + 1].
    """

    tile: int
    window: int
    dilation: int = 1
    causal: bool = True
    alibi: bool = False
    blocks: tuple[int, ...] = ()

    name: ClassVar[str] = "attend"

    @property
    def constants(self) -> tuple[int, ...]:  # type: ignore[override]
        """Return the places of scale and shift, and of the slope if there is one."""
        return (4, 5, 6) if self.alibi else (4, 5)

    @property
    def mask(self) -> Mask:
        """Return which keys count."""
        return Mask(self.tile, self.window, self.dilation, self.causal, self.blocks)

    def infer(self, inputs: Types) -> TensorType:
        """Bound by N weights of the largest value each."""
        q, keys, values, position, scale, shift, *_ = inputs
        check_heads(self, q, keys, values)
        heads = q.shape[0]
        fits = position.shape == () and all(t.shape == (heads,) for t in inputs[4 : 6 + self.alibi])
        if len(inputs) != 6 + self.alibi + (not self.causal) or not fits or scale.lo < 0:
            raise self.refuse(
                f"expected scale and shift [{heads}] >= 0, slope [{heads}] if alibi, a newest "
                f"position [] unless causal; got {', '.join(map(str, inputs[3:]))}"
            )
        check_mask(self, self.mask, self._newest(inputs), keys.shape[0])
        top = self._exponent_peak(inputs) >> max(shift.lo, 0)
        if not 0 <= shift.lo <= shift.hi < SUM_BITS or top + 1 >= EXPONENT_LIMIT:
            raise self.refuse(f"exponents reach 2^{top.bit_length()} / 256; give a larger shift")
        keys_at_once = most_keys(self.mask, keys.shape[0])
        if keys_at_once * MOST_WEIGHT * max(values.peak, 1) >= 1 << SUM_BITS:
            raise self.refuse(
                f"{keys_at_once} keys with values of {values} need more than {SUM_BITS} bits"
            )
        most = keys_at_once * MOST_WEIGHT
        lo, hi = most * min(values.lo, 0), most * max(values.hi, 1)
        return exact_type(self, (heads, values.shape[-1] + 1), lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Visit the tiles in order."""
        q, keys, values, position, scale, shift, *rest = inputs
        xp = namespace(q)
        n, g, _ = keys.shape[-3:]
        share = q.shape[-2] // g
        q = xp.reshape(q, (*q.shape[:-2], g, share, q.shape[-1]))
        slope = rest[0] if self.alibi else scale * 0
        scale, shift, slope = (xp.reshape(x, (g, share)) for x in (scale, shift, slope))
        newest = position if self.causal else rest[-1]
        at = positions_of(newest, n)
        shown = shown_keys(self.mask, position, at)
        far = xp.abs(position[..., None] - at)[..., None, None]
        top = xp.full(q.shape[:-1], LOWEST, dtype=q.dtype, device=q.device)
        total = xp.zeros_like(top)
        mean = xp.zeros((*top.shape, values.shape[-1]), dtype=q.dtype, device=q.device)
        for start in range(0, n, self.tile):
            part = slice(start, min(start + self.tile, n))
            see = shown[..., part][..., None, None]
            k, v = keys[..., part, :, :], values[..., part, :, :]
            s = xp.sum(q[..., None, :, :, :] * k[..., :, :, None, :], axis=-1)
            t = shift_round(s * scale - slope * far[..., part, :, :], shift)
            octave = xp.where(see, shift_floor(t, OCTAVE_BITS), LOWEST)
            higher = xp.maximum(top, xp.max(octave, axis=-3))
            # What is shifted before the first key is zero.
            rise = xp.clip(higher - top, 0, SUM_BITS)
            w = xp.where(see, weight(t - (higher[..., None, :, :] << OCTAVE_BITS)), 0)
            total = shift_round(total, rise) + xp.sum(w, axis=-3)
            terms = xp.sum(w[..., None] * v[..., :, :, None, :], axis=-4)
            mean = shift_round(mean, rise[..., None]) + terms
            top = higher
        out = xp.concat([mean, total[..., None]], axis=-1)
        return xp.reshape(out, (*out.shape[:-3], g * share, out.shape[-1]))

    def peak(self, inputs: Types) -> int:
        """Bound the scaled scores, and the sums with the half of their largest shift."""
        out = self.infer(inputs)
        scores = self._exponent_peak(inputs) + (1 << inputs[5].hi)
        newest = self._newest(inputs)
        places = newest.peak + inputs[3].peak + 2 * inputs[1].shape[0]
        return max(out.peak + (1 << (SUM_BITS - 1)), scores, places, EXPONENT_LIMIT * 2)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count what a full cache costs: every key that the mask can show at once."""
        q, keys, values, *_ = inputs
        heads, n = q.shape[0], most_keys(self.mask, keys.shape[0])
        scores = q.shape[-1] * q.peak * keys.peak
        wide = scores.bit_length() + 1
        tiles = -(-keys.shape[0] // self.tile)
        macs = Work(macs={pair(q.dtype.bits, keys.dtype.bits): heads * n * q.shape[-1]})
        return macs + Work(
            macs={pair(WEIGHT_BITS, values.dtype.bits): heads * n * values.shape[-1]},
            muls={pair(wide, inputs[4].dtype.bits): heads * n},
            adds={wide: heads * n, WEIGHT_BITS: heads * n},
            shifts={wide: heads * n, WEIGHT_BITS: heads * n, out.dtype.bits: tiles * out.size},
            compares={wide: heads * n},
            lookups={TABLE_BITS: heads * n},
            const_bits=sum(t.size_bits for t in inputs[4 : 6 + self.alibi]),
            in_bits=q.size_bits,
            out_bits=out.size_bits,
            state_read_bits=n * (keys.size_bits + values.size_bits) // keys.shape[0],
        )

    def _newest(self, inputs: Types) -> TensorType:
        return inputs[3] if self.causal else inputs[-1]

    def _exponent_peak(self, inputs: Types) -> int:
        """Bound the exponent before its shift."""
        q, keys, _, position, scale, _, *rest = inputs
        far = max(self._newest(inputs).hi, position.hi) if self.alibi else 0
        far = min(far, self.window - 1) if self.causal else far
        far_peak = max(position.hi, self._newest(inputs).hi) + keys.shape[0]
        slope = rest[0].peak * far_peak if self.alibi else 0
        return q.shape[-1] * q.peak * keys.peak * scale.peak + slope


def weight(offset: Array) -> Array:
    """Return round(2^(23 + offset / 256)) for offsets <= 255; larger ones count as their rest.

    >>> import numpy as np
    >>> weight(np.array([0, -256, 255, -5889, -6144, -6400])).tolist()
    [8388608, 4194304, 16731904, 1, 1, 0]
    """
    xp = namespace(offset)
    table = xp.asarray(POWERS, dtype=offset.dtype, device=offset.device)
    base = table[offset & ((1 << OCTAVE_BITS) - 1)] << (WEIGHT_BITS - TABLE_BITS)
    return shift_round(base, xp.clip(-shift_floor(offset, OCTAVE_BITS), 0, WEIGHT_BITS + 1))


def check_heads(op: Op, q: TensorType, keys: TensorType, values: TensorType) -> None:
    """Raise UserError unless q [H, D], keys [N, G, D], values [N, G, E] fit, H a multiple of G."""
    ranks = (len(q.shape), len(keys.shape), len(values.shape)) == (2, 3, 3)
    if not ranks or keys.shape[:2] != values.shape[:2] or q.shape[1] != keys.shape[2]:
        raise op.refuse(
            f"expected q [H,D], keys [N,G,D], values [N,G,E]; got {q}, {keys}, {values}"
        )
    if q.shape[0] % keys.shape[1]:
        raise op.refuse(
            f"{q.shape[0]} query heads do not share {keys.shape[1]} key heads evenly; give a "
            "multiple"
        )
