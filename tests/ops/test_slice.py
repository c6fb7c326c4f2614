"""`slice`: a range of the last axis."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Slice
from tests.ops.check import check


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (0, 1), (4, 5), (1, 4)])
def test_takes_a_range(start, stop):
    t = TensorType(i(40), (2, 5), -9, 1 << 35)
    plain = lambda x: [row[start:stop] for row in x]  # noqa: E731
    check(Slice(start, stop), [t], plain, np.random.default_rng(0))
    assert Slice(start, stop).infer([t]) == TensorType(i(40), (2, stop - start), -9, 1 << 35)


@pytest.mark.parametrize(("start", "stop"), [(2, 2), (3, 2), (0, 6), (-1, 2)])
def test_a_range_outside_the_axis_is_refused(start, stop):
    with pytest.raises(UserError, match=f"operator slice: range {start}..{stop} lies outside"):
        Slice(start, stop).infer([TensorType.full(i(8), (2, 5))])


def test_a_scalar_is_refused():
    with pytest.raises(UserError, match=r"operator slice"):
        Slice(0, 1).infer([TensorType.full(i(8), ())])


def test_it_is_wiring():
    x = TensorType.full(i(8), (5,))
    assert Slice(0, 2).work([x], Slice(0, 2).infer([x])) == Work()
