"""`reshape`: the same integers in row-major order."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Reshape
from tests.ops.check import check


def flat(x):
    return [v for row in x for v in row]


@pytest.mark.parametrize(
    ("target", "plain"),
    [
        ((6,), flat),
        ((3, 2), lambda x: [flat(x)[k : k + 2] for k in (0, 2, 4)]),
        ((2, 3, 1), lambda x: [[[v] for v in row] for row in x]),
        ((1, 6), lambda x: [flat(x)]),
    ],
)
def test_keeps_row_major_order_and_leading_axes(target, plain):
    types = [TensorType(i(8), (2, 3), -100, 99)]
    check(Reshape((2, 3), target), types, plain, np.random.default_rng(0))
    assert Reshape((2, 3), target).infer(types) == TensorType(i(8), target, -100, 99)


def test_a_scalar_becomes_a_vector_and_back():
    rng = np.random.default_rng(0)
    check(Reshape((), (1,)), [TensorType.full(i(8), ())], lambda x: [x], rng)
    check(Reshape((1,), ()), [TensorType.full(i(8), (1,))], lambda x: x[0], rng)


@pytest.mark.parametrize(
    ("source", "target"), [((2, 3), (5,)), ((3, 2), (6,)), ((6,), (2, 3)), ((2, 3), (7, 0))]
)
def test_other_shapes_are_refused(source, target):
    with pytest.raises(UserError, match=r"operator reshape: .* does not fit"):
        Reshape(source, target).infer([TensorType.full(i(8), (2, 3))])


def test_it_is_wiring():
    x = TensorType.full(i(8), (2, 3))
    assert Reshape((2, 3), (6,)).work([x], x) == Work()
