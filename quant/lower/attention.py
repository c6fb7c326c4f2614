"""Lower attention: q, k and v of one matrix, turned by their positions, a cache, a softmax.

Glossary: H query heads, G key heads, D channels per head, N places of the cache. `q_turned` and
`k_turned` are q and k after RoPE and the rotation, if there is one, without its 1 / sqrt(D): two of
them make D, which the scale of the scores takes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import numpy as np

from cosim.ir.errors import InternalError
from cosim.ir.types import TensorType, i, u
from cosim.ops import Attend, CacheWrite, Clip, Count, Divide, Embed, Hadamard, Rope
from quant.formats import AttentionFormat
from quant.lower.emit import Emitter, Fx, frac_for
from quant.weights import IntWeight

OCTAVE_LSBS = 256
SCALE = u(16)
MOST_SHIFT = 47
MEAN_FRAC = 8
TURN_FRAC = 14
TURN = i(16)


@dataclass(frozen=True)
class Heads:
    """Hold the sizes of attention: query heads, key heads, channels; window None: all tokens."""

    queries: int
    keys: int
    size: int
    context: int
    window: int | None = None

    @property
    def places(self) -> int:
        """Return how many tokens the cache holds."""
        return min(self.context, self.window or self.context)


@dataclass(frozen=True)
class Position:
    """Name the values of a token's position that every layer shares: itself, and RoPE's turn."""

    now: str
    turn: str


def position(em: Emitter, heads: Heads, theta: float) -> Position:
    """Count the tokens, and look up cosines and sines of each pair's angle (Q1.14)."""
    bits = heads.context.bit_length()
    at = em.builder.state("position", TensorType(u(bits), (), 0, heads.context))
    em.builder.update(at, em.builder.add("position.next", Count(heads.context), at))
    now = em.builder.add("position.now", Clip(0, heads.context - 1), at)
    angles = np.arange(heads.context)[:, None] * theta ** -(
        np.arange(0, heads.size, 2) / heads.size
    )
    table = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    stored = em.fixed("rope.table", table, table.shape, TURN, TURN_FRAC)
    row = em.node("rope.row", Embed(), [now, stored.name], TURN_FRAC)
    return Position(now, em.reshape("rope.turn", row, (1, heads.size)).name)


def turned(
    em: Emitter, name: str, x: Fx, turn: str, peaks: np.ndarray, bits: int, rotated: bool
) -> Fx:
    """Turn x [heads, D] by its position, rotate it if asked, and narrow each head to `bits`.

    `peaks` [heads, D] are the real magnitudes of the result, orthonormally rotated.
    """
    size = em.type(x).shape[-1]
    y = em.node(f"{name}.rope", Rope(TURN_FRAC, em.type(x).dtype), [x.name, turn], x.frac)
    if rotated:
        y = em.node(f"{name}.rotated", Hadamard(size), [y.name], y.frac)
        peaks = peaks * size**0.5
    frac = frac_for(peaks.max(axis=-1, keepdims=True), i(bits), 1.0)
    return em.requant(name, y, i(bits), frac)


def attention(
    em: Emitter, name: str, q: Fx, k: Fx, v: Fx, at: Position, heads: Heads, fmt: AttentionFormat,
    rotated: bool,
) -> Fx:  # fmt: skip
    """Write k and v [G, D] into the layer's caches and attend with q [H, D]; return [H, D].

    v has one binary point for each channel; so has the result, with MEAN_FRAC bits more.
    """
    cached = write_caches(em, name, k, v, at.now, heads)
    scale, shift = score_scale(em, name, q, k, heads, rotated)
    op = Attend(min(fmt.tile, heads.places), min(heads.window or heads.places, heads.places))
    inputs = (q.name, *cached, at.now, scale, shift)
    return mean_of(em, name, em.builder.add(f"{name}.sums", op, *inputs), v, heads, fmt)


def write_caches(em: Emitter, name: str, k: Fx, v: Fx, now: str, heads: Heads) -> tuple[str, str]:
    """Write k and v [G, D] into the layer's caches; return what these then are."""
    cached = []
    for what, row in (("keys", k), ("values", v)):
        t = em.type(row)
        state = em.builder.state(
            f"{name}.{what}", TensorType.full(t.dtype, (heads.places, *t.shape))
        )
        written = em.builder.add(f"{name}.{what}.written", CacheWrite(), state, row.name, now)
        em.builder.update(state, written)
        cached.append(written)
    return cached[0], cached[1]


def mean_of(em: Emitter, name: str, sums: str, v: Fx, heads: Heads, fmt: AttentionFormat) -> Fx:
    """Divide the sums [H, D + 1] by their last; v is the value row, whose binary points count."""
    share = heads.queries // heads.keys
    frac = np.broadcast_to(v.frac, (heads.keys, heads.size)).repeat(share, axis=0) + MEAN_FRAC
    bits = fmt.value_bits
    divide = Divide(MEAN_FRAC, 1 << (bits - 1), i(bits + MEAN_FRAC))
    return em.node(f"{name}.mean", divide, [sums], frac)


def score_scale(
    em: Emitter, name: str, q: Fx, k: Fx, heads: Heads, rotated: bool
) -> tuple[str, str]:
    """Declare what turns a head's integer scores into 1/256 octaves: multipliers and shifts."""
    share = heads.queries // heads.keys
    points = np.broadcast_to(q.frac, (heads.queries, 1)).reshape(-1) + np.broadcast_to(
        k.frac, (heads.keys, 1)
    ).reshape(-1).repeat(share)
    real = OCTAVE_LSBS * log2(np.e) * heads.size**-0.5 * np.exp2(-points.astype(np.float64))
    real /= heads.size if rotated else 1
    shifts = np.floor(np.log2(SCALE.hi / real)).astype(np.int64)
    # Queries and keys so small that their scores hardly count keep fewer bits of their scale.
    shifts = np.minimum(shifts, MOST_SHIFT)
    if shifts.min() < 0:
        raise InternalError(f"{name}: scores need shifts of {shifts.tolist()}")
    codes = np.rint(real * np.exp2(shifts)).astype(np.int64)
    scale = em.const(f"{name}.scale", codes, codes.shape, SCALE)
    return scale, em.small(f"{name}.shift", shifts)


def stacked(matrices: list[IntWeight]) -> IntWeight:
    """Join matrices that read the same value into one, row below row."""
    first = matrices[0]
    if any(m.format != first.format or m.shape[1] != first.shape[1] for m in matrices):
        raise InternalError("matrices of several formats or widths do not stack")
    shape = (sum(m.shape[0] for m in matrices), first.shape[1])

    def joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
        known = [p for p in parts if p is not None]
        return np.concatenate(known) if len(known) == len(parts) else None

    return IntWeight(
        first.format,
        shape,
        joined([m.codes for m in matrices]),
        joined([m.multipliers for m in matrices]),
        joined([m.exponents for m in matrices]),
    )
