"""`add`: elementwise sums, broadcast, before saturation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Add
from tests.ops.check import check, draw_type


def plain(a, b):
    rows = max(len(a), len(b))
    columns = max(len(a[0]), len(b[0]))
    return [
        [a[r % len(a)][c % len(a[0])] + b[r % len(b)][c % len(b[0])] for c in range(columns)]
        for r in range(rows)
    ]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([(3, 5), (1, 5), (3, 1), (1, 1)]))
def test_adds_python_integers(seed, other):
    rng = np.random.default_rng(seed)
    types = [draw_type(rng, (3, 5), 40), draw_type(rng, other, 40)]
    check(Add(i(8)), types, plain, rng)
    check(Add(i(8)), types[::-1], plain, rng, constants=(0,))


def test_bounds_are_reached():
    a, b = TensorType(i(8), (2,), -5, 100), TensorType(u(4), (2,), 3, 9)
    assert str(Add(i(16)).infer([a, b])) == "i16[2] in -2..109"
    assert Add(i(16)).peak([a, b]) == 109


def test_bounds_are_those_before_saturation():
    full = TensorType.full(i(8), (2,))
    raw = Add(i(8)).infer([full, full])
    assert (raw.lo, raw.hi) == (-256, 254)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ((3,), (2,), r"operator add: operands of shapes \[3\] and \[2\] do not broadcast"),
        ((3,), (1, 3), r"operator add: operands of shapes \[3\] and \[1, 3\] differ in rank"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(a, b, said):
    with pytest.raises(UserError, match=said):
        Add(i(8)).infer([TensorType.full(i(8), a), TensorType.full(i(8), b)])


def test_work_is_counted_by_hand():
    a, b = TensorType.full(i(8), (3, 5)), TensorType.full(i(12), (1, 5))
    op = Add(i(16))
    assert op.work([a, b], op.infer([a, b])) == Work(
        adds={12: 15}, compares={13: 15}, in_bits=3 * 5 * 8 + 5 * 12, out_bits=15 * 16
    )
