"""`count`: one more, up to a limit."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Count
from tests.ops.check import check


@pytest.mark.parametrize(("limit", "lo", "hi"), [(1, 0, 1), (7, 0, 7), (9, 2, 5), (1 << 20, 0, 99)])
def test_counts_up_to_the_limit(limit, lo, hi):
    t = TensorType(u(21), (), lo, hi)
    check(Count(limit), [t], lambda x: min(x + 1, limit), np.random.default_rng(limit))
    raw = Count(limit).infer([t])
    assert (raw.lo, raw.hi) == (min(lo + 1, limit), min(hi + 1, limit))


@pytest.mark.parametrize(
    ("limit", "t"),
    [
        (0, TensorType(u(4), (), 0, 0)),
        (5, TensorType(u(4), (), 0, 6)),
        (5, TensorType(i(4), (), -1, 5)),
        (9, TensorType(u(3), (), 0, 7)),
    ],
)
def test_a_limit_that_does_not_fit_is_refused(limit, t):
    with pytest.raises(UserError, match=f"operator count: limit {limit} must be at least 1"):
        Count(limit).infer([t])


def test_work_is_an_addition_and_a_comparison():
    t = TensorType(u(5), (), 0, 20)
    want = Work(adds={5: 1}, compares={5: 1}, in_bits=5, out_bits=5)
    assert Count(20).work([t], t) == want
