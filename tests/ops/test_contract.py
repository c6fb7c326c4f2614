"""`contract`: exact sums of products over the last axis."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Contract
from tests.ops.check import check, draw_type


def plain(h, c):
    return [
        sum(x * c[r % len(c)][k % len(c[0])] for k, x in enumerate(row)) for r, row in enumerate(h)
    ]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([(3, 5), (1, 5), (3, 1), (1, 1)]))
def test_sums_products_of_python_integers(seed, other):
    rng = np.random.default_rng(seed)
    check(Contract(), [draw_type(rng, (3, 5), 14), draw_type(rng, other, 14)], plain, rng)
    check(Contract(), [draw_type(rng, (3, 5), 32), draw_type(rng, other, 27)], plain, rng)


def test_bounds_are_reached():
    h, c = TensorType.full(i(8), (2, 5)), TensorType.full(i(4), (1, 5))
    assert str(Contract().infer([h, c])) == f"i14[2] in {5 * 127 * -8}..{5 * -128 * -8}"
    low = Contract().meaning(np.full((2, 5), 127), np.full((1, 5), -8))
    high = Contract().meaning(np.full((2, 5), -128), np.full((1, 5), -8))
    assert (low.tolist(), high.tolist()) == ([-5080] * 2, [5120] * 2)


def test_bounds_of_a_partial_sum_are_inside():
    """All products positive: the sum may still be cut after none of them."""
    h, c = TensorType(u(8), (4,), 3, 9), TensorType(u(8), (4,), 2, 5)
    assert str(Contract().infer([h, c])) == "i9[] in 0..180"


def test_scalars_are_refused():
    s = TensorType.full(i(8), ())
    with pytest.raises(UserError, match=r"operator contract: the operands are scalars"):
        Contract().infer([s, s])


def test_a_sum_past_63_bits_is_refused():
    h, c = TensorType.full(i(32), (8,)), TensorType.full(i(32), (8,))
    with pytest.raises(UserError, match=r"operator contract: .* needs 67 bits, more than 63"):
        Contract().infer([h, c])


def test_work_is_counted_by_hand():
    h, c = TensorType.full(i(24), (3, 1)), TensorType.full(i(16), (1, 5))
    out = Contract().infer([h, c])
    want = Work(macs={(24, 16): 15}, in_bits=3 * 24 + 5 * 16, out_bits=3 * out.dtype.bits)
    assert Contract().work([h, c], out) == want
