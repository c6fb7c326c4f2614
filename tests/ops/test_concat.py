"""`concat`: joins along the last axis."""

from itertools import chain

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Concat
from tests.ops.check import check


def test_joins_lists():
    rng = np.random.default_rng(0)
    types = [TensorType(i(16), (2, size), -size, 9 * size) for size in (1, 4, 3)]

    def plain(*tokens):
        return [list(chain.from_iterable(rows)) for rows in zip(*tokens, strict=True)]

    check(Concat(), types, plain, rng)
    check(Concat(), types[:1], lambda x: x, rng)


def test_bounds_are_the_widest():
    a, b = TensorType(i(8), (3,), -4, 9), TensorType(i(8), (2,), -1, 50)
    assert str(Concat().infer([a, b])) == "i8[5] in -4..50"


@pytest.mark.parametrize(
    "other",
    [TensorType.full(i(9), (3, 2)), TensorType.full(i(8), (2, 2)), TensorType.full(i(8), (2,))],
    ids=str,
)
def test_other_types_or_axes_are_refused(other):
    with pytest.raises(UserError, match=r"operator concat: .* differ in type or leading axes"):
        Concat().infer([TensorType.full(i(8), (3, 2)), other])


def test_scalars_are_refused():
    with pytest.raises(UserError, match=r"operator concat: .*scalars"):
        Concat().infer([TensorType.full(i(8), ()), TensorType.full(i(8), ())])
    with pytest.raises(UserError, match=r"operator concat: .*scalars"):
        Concat().infer([TensorType.full(i(8), ())])


def test_it_is_wiring():
    x = TensorType.full(i(8), (3,))
    assert Concat().work([x, x], Concat().infer([x, x])) == Work()
