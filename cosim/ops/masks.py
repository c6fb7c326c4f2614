"""Say which keys of a ring cache a query sees: causal, window, dilation, blocks of tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op
from cosim.ir.types import TensorType


@dataclass(frozen=True)
class Mask:
    """Hold the rule: see `attend`; `blocks` are pairs (query tile, key tile), flat."""

    tile: int
    window: int
    dilation: int = 1
    causal: bool = True
    blocks: tuple[int, ...] = ()

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Return the listed pairs of query tile and key tile."""
        return tuple(zip(self.blocks[::2], self.blocks[1::2], strict=True))


def check_mask(op: Op, mask: Mask, newest: TensorType, places: int) -> None:
    """Raise UserError for a mask that leaves a query without a key, or that must not wrap."""
    if mask.window < 1:
        raise op.refuse(f"a window of {mask.window} keys leaves each query without one; give 1")
    if mask.tile < 1 or mask.dilation < 1 or newest.shape != () or newest.lo < 0:
        raise op.refuse(
            f"tile {mask.tile} and dilation {mask.dilation} must be at least 1, the position at "
            f"least 0, got {newest}"
        )
    if newest.hi >= places and (mask.blocks or not mask.causal):
        raise op.refuse(
            f"positions reach {newest.hi}, but the cache has {places} places: a mask of blocks or "
            "of both sides must hold the whole context; make the cache larger"
        )
    if mask.causal and newest.hi >= places and mask.window > places:
        raise op.refuse(
            f"positions reach {newest.hi} in a window of {mask.window}, but the cache has {places} "
            "places; make the cache larger or the window smaller"
        )
    if not mask.blocks:
        return
    tiles = -(-places // mask.tile)
    if len(mask.blocks) % 2 or not all(0 <= t < tiles for t in mask.blocks):
        raise op.refuse(f"blocks must be pairs of tiles 0..{tiles - 1}, got {list(mask.blocks)}")
    for query in range(newest.hi // mask.tile + 1):
        if query not in dict.fromkeys(q for q, k in mask.pairs if k == query):
            raise op.refuse(
                f"query tile {query} is not listed with its own key tile, so that a query there "
                "may see no key; list each tile with itself"
            )


def most_keys(mask: Mask, places: int) -> int:
    """Return how many keys a query can see at once, blocks left aside.

    >>> most_keys(Mask(4, 5), 8), most_keys(Mask(4, 9, dilation=3), 8)
    (5, 3)
    >>> most_keys(Mask(4, 3, causal=False), 8)
    5
    """
    reach = min(mask.window, places)
    one_side = (reach - 1) // mask.dilation
    return min(places, 1 + one_side * (1 if mask.causal else 2))


def positions_of(newest: Array, places: int) -> Array:
    """Return the position that each place of the ring holds, below 0 where it holds none yet.

    >>> import numpy as np
    >>> positions_of(np.array(5), 4).tolist(), positions_of(np.array(1), 4).tolist()
    ([4, 5, 2, 3], [0, 1, -2, -1])
    """
    xp = namespace(newest)
    at = xp.arange(places, dtype=newest.dtype, device=newest.device)
    newest = newest[..., None]
    return newest - xp.remainder(newest - at, places)


def shown_keys(mask: Mask, position: Array, at: Array) -> Array:
    """Return which of the keys at positions `at` [..., N] the query at `position` [...] sees."""
    xp = namespace(position)
    back = position[..., None] - at
    far = xp.abs(back)
    shown = (at >= 0) & (far < mask.window) & (xp.remainder(far, mask.dilation) == 0)
    if mask.causal:
        shown = shown & (back >= 0)
    if mask.blocks:
        query, key = position[..., None] // mask.tile, at // mask.tile
        listed = xp.zeros_like(shown)
        for a, b in mask.pairs:
            listed = listed | ((query == a) & (key == b))
        shown = shown & listed
    return shown


def key_tiles(mask: Mask, position: int, newest: int, places: int) -> list[int]:
    """List the tiles of places in which the query sees a key, in the order of their visit.

    >>> key_tiles(Mask(2, 3), 5, 5, 8)
    [1, 2]
    >>> key_tiles(Mask(2, 8, blocks=(0, 0, 1, 1, 2, 0, 2, 2)), 5, 5, 8)
    [0, 2]
    """
    at = positions_of(np.array(newest), places)
    shown = np.nonzero(shown_keys(mask, np.array(position), at))[0]
    return sorted({int(place) // mask.tile for place in shown})
