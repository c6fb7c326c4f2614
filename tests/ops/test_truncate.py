"""`truncate`: a shift that rounds down."""

from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Requant, Truncate
from tests.ops.check import check, draw_type


@given(st.integers(0, 2**32), st.integers(0, 20))
def test_equals_a_floor(seed, shift):
    rng = np.random.default_rng(seed)

    def plain(x):
        return [floor(v / 2**shift) for v in x]

    check(Truncate(shift, i(8)), [draw_type(rng, (5,), 24)], plain, rng)


def test_it_is_not_the_rounding_of_requant():
    x = np.array([-3, -2, -1, 0, 1, 2, 3])
    assert Truncate(1, i(8)).meaning(x).tolist() == [-2, -1, -1, 0, 0, 1, 1]
    assert Requant(i(8)).meaning(x, np.array([1])).tolist() == [-1, -1, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("shift", [-1, 64])
def test_other_shifts_are_refused(shift):
    with pytest.raises(UserError, match=rf"operator truncate: shift is {shift}, must be 0\.\.63"):
        Truncate(shift, i(8)).infer([TensorType.full(i(8), (2,))])


def test_work_is_counted_by_hand():
    x = TensorType.full(i(34), (3,))
    out = TensorType.full(i(32), (3,))
    assert Truncate(10, i(32)).work([x], out) == Work(compares={34: 3}, in_bits=102, out_bits=96)
