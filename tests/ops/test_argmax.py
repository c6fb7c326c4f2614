"""`argmax`: the first index of the largest element."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Argmax
from tests.ops.check import check, compare, draw_type


def plain(x):
    return x.index(max(x))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 11))
def test_finds_the_first_largest(seed, size):
    """Types of few bits make ties common."""
    rng = np.random.default_rng(seed)
    check(Argmax(), [draw_type(rng, (size,), 4)], plain, rng)
    check(Argmax(), [draw_type(rng, (size,), 40)], plain, rng)


def test_works_row_by_row():
    x = np.array([[1, 3, 3], [0, 0, 0], [-5, -6, -4]])
    compare(Argmax(), [TensorType.full(i(4), (3, 3))], [x], np.array([1, 0, 2], dtype=object))


def test_the_index_has_the_narrowest_type():
    assert str(Argmax().infer([TensorType.full(i(24), (256,))])) == "u8[] in 0..255"
    assert str(Argmax().infer([TensorType.full(i(24), (257,))])) == "u9[] in 0..256"


def test_a_scalar_is_refused():
    with pytest.raises(UserError, match=r"operator argmax: needs a vector"):
        Argmax().infer([TensorType.full(i(8), ())])


def test_work_is_counted_by_hand():
    x = TensorType.full(i(24), (256,))
    want = Work(compares={24: 256}, in_bits=24 * 256, out_bits=8)
    assert Argmax().work([x], Argmax().infer([x])) == want
