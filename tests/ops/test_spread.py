"""`spread`: each member of a group gets the group's value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, u
from cosim.ir.work import Work
from cosim.ops import Spread
from tests.ops.check import check, draw_type


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 9))
def test_equals_an_index(seed, size, group):
    rng = np.random.default_rng(seed)

    def plain(x):
        return [[row[k // group] for k in range(size)] for row in x]

    check(Spread(group, size), [draw_type(rng, (3, -(-size // group)))], plain, rng)


@pytest.mark.parametrize("op", [Spread(0, 8), Spread(8, 9), Spread(3, 8)], ids=str)
def test_what_does_not_fit_is_refused(op):
    with pytest.raises(UserError, match="operator spread: groups of"):
        op.infer([TensorType.full(u(4), (1,))])


def test_it_is_wiring():
    x = TensorType.full(u(4), (2,))
    assert Spread(8, 12).work([x], Spread(8, 12).infer([x])) == Work()
