"""`rescale`: times m over 2^s with one rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Rescale
from tests.ops.check import check, draw_type
from tests.ops.test_mul import plain


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([(3, 5), (1, 5), (3, 1), (1, 1)]), st.booleans())
def test_scales_python_integers(seed, shape, wide):
    rng = np.random.default_rng(seed)
    lo, hi = sorted(rng.integers(-4, 40 if wide else 13, 2).tolist())
    types = [draw_type(rng, (3, 5), 36 if wide else 8), draw_type(rng, shape, 16 if wide else 8)]
    types.append(TensorType(i(7), shape, lo, hi))
    check(Rescale(i(8)), types, plain, rng, constants=(1, 2))


def test_bounds_are_reached():
    types = [TensorType.full(i(8), (1,)), TensorType(i(8), (1,), -3, 100)]
    types.append(TensorType(i(8), (1,), 4, 6))
    raw = Rescale(i(16)).infer(types)
    ends = [
        Rescale(i(16)).meaning(np.array([x]), np.array([100]), np.array([4])) for x in (-128, 127)
    ]
    assert [raw.lo, raw.hi] == [int(e[0]) for e in ends] == [-800, 794]


def test_a_constant_of_zero_clears():
    zero = TensorType(u(1), (3, 5), 0, 0)
    types = [TensorType.full(i(60), (3, 5)), zero, TensorType(u(3), (3, 5), 0, 7)]
    check(Rescale(i(8)), types, plain, np.random.default_rng(0), constants=(1, 2), leads=((2,),))


def test_ranks_must_agree():
    types = [TensorType.full(i(8), (3,)), TensorType.full(u(3), ()), TensorType.full(u(3), ())]
    with pytest.raises(UserError, match=r"operator rescale: operands .* differ in rank"):
        Rescale(i(8)).infer(types)


def test_work_is_counted_by_hand():
    types = [TensorType.full(i(24), (3, 5)), TensorType.full(u(15), (1, 5))]
    types.append(TensorType(u(5), (1, 1), 0, 20))
    assert Rescale(i(8)).work(types, TensorType.full(i(8), (3, 5))) == Work(
        muls={(24, 15): 15},
        shifts={39: 15},
        adds={39: 15},
        compares={39: 15},
        const_bits=5 * 15 + 5,
        in_bits=360,
        out_bits=120,
    )
