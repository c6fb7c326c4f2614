"""Attend over a window of tokens on the CPU: write a token's rows, visit the tiles, next token.

Sums are exact in float64: below 2^49, the half of a rounding shift included. Scores are exact in
float32 where their proved bound is below 2^24, else in float64.
"""

from __future__ import annotations

import numpy as np
import torch

from cosim.ir.graph import Graph, Node
from cosim.kernels.cache import Cache
from cosim.kernels.compiled import compiled
from cosim.kernels.rows import carrier
from cosim.ops.attend import LOWEST, POWERS, SUM_BITS, TABLE_BITS, WEIGHT_BITS, Attend

FLOAT32_EXACT, FLOAT64_EXACT = 1 << 24, 1 << 53
ENDS = (LOWEST, SUM_BITS, WEIGHT_BITS + 1)


@compiled
def attend_tokens(  # noqa: PLR0915  a loop of numba is one function
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    k_rows: np.ndarray,
    v_rows: np.ndarray,
    position: np.ndarray,
    newest: np.ndarray,
    heads: np.ndarray,
    weights: np.ndarray,
    rule: tuple[int, int, int, bool],
    listed: np.ndarray,
    ends: tuple[int, int, int],
    out: np.ndarray,
) -> None:
    """Attend with every token of every sequence; k [B, G, D, N] and v [B, G, N, E] are written to.

    `heads` [3, H]: scale, shift, slope. `rule`: tile, window, dilation, causal; `listed` the tiles
    that count [query tile, key tile], empty if all. `ends`: lowest octave, the largest shift of
    sums and of weights.
    """
    tile, window, dilation, causal = rule
    lowest, most_rise, most_down = ends
    tokens, count, size = q.shape[1], q.shape[2], q.shape[3]
    groups, places, width = v.shape[1], v.shape[2], v.shape[3]
    share = count // groups
    far = np.empty(places, np.int64)
    s, w = np.empty(tile, q.dtype), np.empty(tile, np.float64)
    octaves, mean = np.empty(tile, np.int64), np.empty(width, np.float64)
    for b in range(q.shape[0]):
        for t in range(tokens):
            p, last = position[b, t], newest[b, t]
            if k_rows.shape[1] > 0:
                place = p % places
                for g in range(groups):
                    for d in range(size):
                        k[b, g, d, place] = k_rows[b, t, g, d]
                    for e in range(width):
                        v[b, g, place, e] = v_rows[b, t, g, e]
            newest_place, sides = last % places, 0 if causal else 1
            for c in range(places):
                age = newest_place - c
                age += places * (age < 0)
                back = p - last + age
                off = abs(back)
                seen = (age <= last) & (off < window) & ((back >= 0) | (sides == 1))
                far[c] = off if seen else -1
            if dilation > 1 or listed.shape[0] > 0:
                for c in range(places):
                    seen = far[c] % dilation == 0
                    if listed.shape[0] > 0:  # no ring wraps there: a place is its position
                        seen = seen and listed[p // tile, c // tile]
                    far[c] = far[c] if seen else -1
            for h in range(count):
                g = h // share
                scale, shift, slope = heads[0, h], heads[1, h], heads[2, h]
                half = (np.int64(1) << shift) >> 1
                top, total = np.int64(lowest), 0.0
                for e in range(width):
                    mean[e] = 0.0
                for start in range(0, places, tile):
                    n = min(tile, places - start)
                    away = far[start : start + n]
                    nearest = np.int64(-1)
                    for c in range(n):
                        s[c] = 0
                        nearest = max(nearest, away[c])
                    if nearest < 0:
                        continue
                    for d in range(size):
                        qd = q[b, t, h, d]
                        row = k[b, g, d, start : start + n]
                        for c in range(n):
                            s[c] += qd * row[c]
                    higher = top
                    for c in range(n):
                        exponent = (np.int64(s[c]) * scale - slope * away[c] + half) >> shift
                        octaves[c] = exponent
                        higher = max(higher, exponent >> 8 if away[c] >= 0 else np.int64(lowest))
                    rise: int = min(int(higher - top), most_rise)
                    if rise > 0 and total > 0:
                        down, middle = 2.0**-rise, 2.0 ** (rise - 1)
                        total = np.floor((total + middle) * down)
                        for e in range(width):
                            mean[e] = np.floor((mean[e] + middle) * down)
                    top = higher
                    for c in range(n):
                        below = octaves[c] - (top << 8)
                        right = min(max(-(below >> 8), np.int64(0)), np.int64(most_down))
                        entry = weights[np.uint64(below & 255)]
                        value = (entry + ((np.int64(1) << right) >> 1)) >> right
                        w[c] = np.float64(value if away[c] >= 0 else np.int64(0))
                    for c in range(n):
                        total += w[c]
                    for c in range(n):
                        if w[c] > 0:
                            weight, row = w[c], v[b, g, start + c]
                            for e in range(width):
                                mean[e] += weight * row[e]
                for e in range(width):
                    out[b, t, h, e] = np.int64(mean[e])
                out[b, t, h, width] = np.int64(total)


class PreparedAttend:
    """Hold one attention ready for the compiled loop."""

    def __init__(self, graph: Graph, node: Node) -> None:
        """Lay out the constants."""
        op, types = node.op, graph.input_types(node)
        assert isinstance(op, Attend)
        self.node, self.out = node, graph.types[node.name]
        q, keys, *_ = types
        exact = q.shape[-1] * q.peak * keys.peak < FLOAT32_EXACT
        self.dtype = torch.float32 if exact else torch.float64
        scale, shift = graph.tensors[node.inputs[4]], graph.tensors[node.inputs[5]]
        slope = graph.tensors[node.inputs[6]] if op.alibi else np.zeros_like(scale)
        self.heads = np.stack([scale, shift, slope]).astype(np.int64)
        self.weights = np.array(POWERS, dtype=np.int64) << (WEIGHT_BITS - TABLE_BITS)
        self.rule = (op.tile, op.window, op.dilation, op.causal)
        tiles = -(-keys.shape[0] // op.tile) if op.blocks else 0
        self.listed = np.zeros((tiles, tiles), dtype=np.bool_)
        for a, b in op.mask.pairs:
            self.listed[a, b] = True

    def run(
        self, q: torch.Tensor, keys: Cache, values: Cache, position: torch.Tensor,
        newest: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Return the sums [B, T, H, E + 1] of queries [B, T, H, D] at positions [B, T]."""
        at, last = _wide(position, q), _wide(newest, q)
        rows = [
            c.start.new_zeros((q.shape[0], 0, *c.start.shape[2:])) if c.rows is None else c.rows
            for c in (keys, values)
        ]
        out = torch.empty((*q.shape[:2], *self.out.shape), dtype=torch.int64)
        attend_tokens(
            q.to(self.dtype).contiguous().numpy(),
            keys.start.permute(0, 2, 3, 1).to(self.dtype, memory_format=torch.contiguous_format)
            .contiguous().clone().numpy(),
            values.start.permute(0, 2, 1, 3).to(torch.float64).contiguous().clone().numpy(),
            rows[0].to(self.dtype).contiguous().numpy(),
            rows[1].to(torch.float64).contiguous().numpy(),
            at, last, self.heads, self.weights, self.rule, self.listed, ENDS, out.numpy(),
        )  # fmt: skip
        return out.to(carrier(self.out.peak))


def attend_applies(graph: Graph, node: Node) -> bool:
    """Tell whether the compiled loop serves an attention: constants of heads, moving q."""
    op = node.op
    if not isinstance(op, Attend) or node.inputs[0] in graph.tensors:
        return False
    q, keys, *_ = graph.input_types(node)
    exact = q.shape[-1] * q.peak * keys.peak < FLOAT64_EXACT
    return exact and all(node.inputs[k] in graph.tensors for k in op.constants)


def _wide(x: torch.Tensor, like: torch.Tensor) -> np.ndarray:
    """Return positions [B, T], int64."""
    return x.to(torch.int64).expand(like.shape[:2]).contiguous().numpy()
