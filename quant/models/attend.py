"""Attend in float32: rotary positions, grouped heads, causal and windowed masks, a cache of keys.

Axes: b batch, t new tokens, s all tokens so far, h query heads, g key heads (h a multiple of g),
e head dim. Query head i reads key head i // (h / g).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TypeAlias

import torch
from torch import Tensor

from cosim.ir.errors import UserError


@dataclass(frozen=True)
class Cache:
    """Hold the keys (with their positions in) and values of all tokens so far, [b, g, s, e]."""

    keys: Tensor
    values: Tensor

    def extended(self, keys: Tensor, values: Tensor) -> Cache:
        """Return the cache with the keys and values of new tokens, [b, g, t, e], behind."""
        return Cache(torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2))


State: TypeAlias = tuple[Cache, ...]
"""The caches of all layers: what passes from one token to the next."""


def empty_state(like: Tensor, layers: int, batch: int, heads: int, head_dim: int) -> State:
    """Return the empty caches before the first token, of the kind of the weight `like`."""
    empty = like.new_zeros(batch, heads, 0, head_dim)
    return (Cache(empty, empty),) * layers


def positions(state: State, tokens: Tensor, most: int, key: str) -> tuple[int, int]:
    """Return the first position of tokens [b, t] after `state`, and the one behind the last.

    Raises UserError for another batch than the state's, and past the `most` positions that the
    config's `key` allows.
    """
    batch, first = state[0].keys.shape[0], state[0].keys.shape[2]
    if batch != tokens.shape[0]:
        raise UserError(
            f"the state was made for a batch of {batch}, but tokens have the shape"
            f" {list(tokens.shape)}; make it by initial_state(model, {tokens.shape[0]})."
        )
    end = first + tokens.shape[1]
    if end > most:
        raise UserError(
            f"the text has {end} tokens, but the model was made for {most} ({key}); cut it."
        )
    return first, end


def rope_angles(first: int, count: int, head_dim: int, theta: float) -> Tensor:
    """Return the angles [t, e / 2] of the positions first, first + 1, ...

    Pair j turns by theta^(-2 j / e) a position (Su et al., "RoFormer", 2021).

    >>> rope_angles(2, 1, 4, 100.0)
    tensor([[2.0000, 0.2000]])
    """
    frequencies = theta ** -(torch.arange(0, head_dim, 2).float() / head_dim)
    return torch.arange(first, first + count).float()[:, None] * frequencies


def rotate_pairs(x: Tensor, angles: Tensor) -> Tensor:
    """Turn the pairs (j, j + e / 2) of x [b, h, t, e] by angles [t, e / 2], as Llama pairs them."""
    low, high = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)


def visible(queries: int, keys: int, window: int | None) -> Tensor:
    """Return which of the keys each of the last `queries` tokens sees, bool [t, s].

    A token sees itself and what came before; with a window, the last `window` of those.

    >>> visible(2, 4, 2).int()
    tensor([[0, 1, 1, 0],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    at = torch.arange(keys - queries, keys)[:, None]
    key = torch.arange(keys)
    seen = key <= at
    return seen if window is None else seen & (key > at - window)


def attend(q: Tensor, cache: Cache, mask: Tensor, scale: float) -> Tensor:
    """Return softmax(scale q k^T) v over the keys that the mask [t, s] lets through.

    q [b, h, t, e] -> [b, h, t, e].
    """
    share = q.shape[1] // cache.keys.shape[1]
    keys = cache.keys.repeat_interleave(share, dim=1)
    values = cache.values.repeat_interleave(share, dim=1)
    scores = q @ keys.transpose(-1, -2) * scale
    weights: Tensor = scores.masked_fill(~mask, -inf).softmax(-1)
    return weights @ values
