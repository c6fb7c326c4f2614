"""`cache_write`: one row of a ring becomes the token's."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import CacheWrite
from tests.ops.check import check


def plain(cache, row, position):
    place = position % len(cache)
    return [*cache[:place], row, *cache[place + 1 :]]


@pytest.mark.parametrize("places", [1, 3, 8])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_writes_the_place_of_the_position(places, shape):
    """Past the end the oldest row is overwritten."""
    types = [
        TensorType.full(i(8), (places, *shape)),
        TensorType.full(i(8), shape),
        TensorType(u(9), (), 0, 500),
    ]
    rng = np.random.default_rng(places)
    check(CacheWrite(), types, plain, rng)
    for position in range(3 * places):
        cache, row = (rng.integers(-128, 128, t.shape) for t in types[:2])
        got = CacheWrite().meaning(cache, row, np.array(position))
        assert got.tolist() == plain(cache.tolist(), row.tolist(), position)


def test_bounds_are_the_widest():
    types = [
        TensorType(i(8), (4, 3), 0, 0),
        TensorType(i(8), (3,), -3, 9),
        TensorType.full(u(2), ()),
    ]
    assert str(CacheWrite().infer(types)) == "i8[4,3] in -3..9"


@pytest.mark.parametrize(
    ("cache", "row", "position"),
    [
        (TensorType.full(i(8), (4, 3)), TensorType.full(i(9), (3,)), TensorType.full(u(2), ())),
        (TensorType.full(i(8), (4, 3)), TensorType.full(i(8), (4,)), TensorType.full(u(2), ())),
        (TensorType.full(i(8), (4, 3)), TensorType.full(i(8), (3,)), TensorType.full(u(2), (1,))),
        (TensorType.full(i(8), (4, 3)), TensorType.full(i(8), (3,)), TensorType.full(i(2), ())),
        (TensorType.full(i(8), ()), TensorType.full(i(8), ()), TensorType.full(u(2), ())),
    ],
    ids=str,
)
def test_other_shapes_and_types_are_refused(cache, row, position):
    with pytest.raises(UserError, match=r"operator cache_write: expected cache \[N,...\]"):
        CacheWrite().infer([cache, row, position])


def test_work_writes_one_row():
    types = [
        TensorType.full(i(8), (4, 2, 3)),
        TensorType.full(i(8), (2, 3)),
        TensorType.full(u(5), ()),
    ]
    assert CacheWrite().work(types, CacheWrite().infer(types)) == Work(
        in_bits=53, out_bits=192, state_write_bits=48
    )
