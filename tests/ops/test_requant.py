"""`requant`: shifts with one rounding, right or left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Requant
from tests.ops.check import check, draw_type, half_up


def plain(x, s):
    return [
        [half_up(v, s[r % len(s)][c % len(s[0])]) for c, v in enumerate(row)]
        for r, row in enumerate(x)
    ]


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([(3, 5), (1, 5), (3, 1), (1, 1)]))
def test_shifts_python_integers(seed, shape):
    rng = np.random.default_rng(seed)
    for most_bits, most in ((12, 9), (30, 31), (44, 62)):
        lo, hi = sorted(rng.integers(-9, most, 2, endpoint=True).tolist())
        types = [draw_type(rng, (3, 5), most_bits), TensorType(i(7), shape, lo, hi)]
        check(Requant(i(8)), types, plain, rng, constants=(1,))


@pytest.mark.parametrize("shift", [0, 1, 30, 31, 32, 62, 63])
def test_extreme_shifts_of_extreme_inputs(shift):
    for bits in (2, 31, 62):
        types = [TensorType.full(i(bits), (1, 5)), TensorType(u(6), (1, 1), shift, shift)]
        if Requant(i(8)).peak(types) < 1 << 63:
            check(Requant(i(8)), types, plain, np.random.default_rng(0), constants=(1,))


def test_a_shift_past_the_carrier_is_beyond_every_peak():
    types = [TensorType.full(i(8), (1,)), TensorType(u(7), (1,), 0, 64)]
    assert Requant(i(8)).peak(types) >= 1 << 63
    types[1] = TensorType(i(8), (1,), -56, 0)
    assert Requant(i(8)).peak(types) >= 1 << 63


def test_bounds_are_reached():
    types = [TensorType(i(8), (1,), -100, 7), TensorType(i(4), (1,), -2, 3)]
    raw = Requant(i(16)).infer(types)
    assert (raw.lo, raw.hi) == (-400, 28)
    types[1] = TensorType(i(4), (1,), 1, 3)
    raw = Requant(i(16)).infer(types)
    assert (raw.lo, raw.hi) == (-50, 4)
    assert Requant(i(16)).meaning(np.array([-100, 7]), np.array([1])).tolist() == [-50, 4]


def test_ranks_must_agree():
    with pytest.raises(UserError, match=r"operator requant: operands .* differ in rank"):
        Requant(i(8)).infer([TensorType.full(i(8), (3,)), TensorType.full(u(3), ())])


def test_work_is_counted_by_hand():
    types = [TensorType.full(i(24), (3, 5)), TensorType(u(4), (1, 5), 0, 9)]
    assert Requant(i(8)).work(types, TensorType.full(i(8), (3, 5))) == Work(
        shifts={24: 15}, adds={24: 15}, compares={24: 15}, const_bits=20, in_bits=360, out_bits=120
    )
