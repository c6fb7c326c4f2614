"""`masks`: which keys of a ring count."""

import numpy as np
import pytest

from cosim.ops.masks import Mask, key_tiles, most_keys, positions_of, shown_keys
from tests.ops.attention import places

MASKS = [
    Mask(3, 4),
    Mask(2, 7, dilation=3),
    Mask(4, 9, causal=False),
    Mask(3, 3, dilation=2, causal=False),
    Mask(2, 8, blocks=(0, 0, 1, 1, 2, 0, 2, 2, 3, 1, 3, 3)),
    Mask(2, 8, causal=False, blocks=(0, 0, 0, 3, 1, 1, 2, 2, 3, 3)),
]


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_shown_keys_and_tiles_equal_a_list_made_one_by_one(mask):
    n, most = 8, 0
    for newest in range(n):
        for position in [newest] if mask.causal else range(newest + 1):
            seen = [far is not None for far in places(mask, position, newest, n)]
            at = positions_of(np.array(newest), n)
            assert shown_keys(mask, np.array(position), at).tolist() == seen
            tiles = sorted({c // mask.tile for c in range(n) if seen[c]})
            assert key_tiles(mask, position, newest, n) == tiles
            assert any(seen), "each query sees itself"
            most = max(most, sum(seen))
    assert most <= most_keys(mask, n)
    assert mask.blocks or most == most_keys(mask, n), "no query sees as many as the bound says"


def test_many_queries_at_once():
    """Leading axes of positions are those of the answer."""
    newest = np.arange(12).reshape(3, 4)
    at = positions_of(newest, 5)
    assert at.shape == (3, 4, 5)
    assert at[2, 1].tolist() == [5, 6, 7, 8, 9]
    assert shown_keys(Mask(2, 3), newest, at)[2, 1].tolist() == [False, False, True, True, True]
