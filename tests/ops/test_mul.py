"""`mul`: products, shifted with one rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Mul
from tests.ops.check import check, draw_type, half_up


def at(x, r, c):
    return x[r % len(x)][c % len(x[0])]


def plain(a, b, s):
    return [[half_up(at(a, r, c) * at(b, r, c), at(s, r, c)) for c in range(5)] for r in range(3)]


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([(3, 5), (1, 5), (3, 1), (1, 1)]), st.booleans())
def test_multiplies_python_integers(seed, other, wide):
    rng = np.random.default_rng(seed)
    shift_shape = [(3, 5), (1, 5), (3, 1), (1, 1)][rng.integers(4)]
    lo, hi = sorted(rng.integers(-4, 30 if wide else 13, 2).tolist())
    types = [draw_type(rng, (3, 5), 30 if wide else 8), draw_type(rng, other, 24 if wide else 8)]
    types.append(TensorType(i(7), shift_shape, lo, hi))
    check(Mul(i(8)), types, plain, rng, constants=(2,))


@pytest.mark.parametrize("shift", [31, 62, 63])
def test_the_largest_shifts_round_like_all_others(shift):
    """2^(s-1) must be added even where 2^s itself no longer fits the carrier."""
    types = [TensorType.full(i(8), (1, 5)), TensorType.full(i(8), (1, 5))]
    types.append(TensorType(i(7), (1, 1), shift, shift))
    rng = np.random.default_rng(0)

    def one_row(a, b, s):
        return [[half_up(x * y, s[0][0]) for x, y in zip(a[0], b[0], strict=True)]]

    check(Mul(i(8)), types, one_row, rng, constants=(2,))


def test_bounds_are_reached():
    types = [TensorType(i(8), (1,), -100, 90), TensorType(i(8), (1,), -7, 6)]
    types.append(TensorType(i(4), (1,), -1, 2))
    raw = Mul(i(8)).infer(types)
    ends = [
        int(Mul(i(8)).meaning(*map(np.array, t))[0])
        for t in (([90], [-7], [-1]), ([-100], [-7], [-1]))
    ]
    assert [raw.lo, raw.hi] == ends == [-1260, 1400]


def test_work_is_counted_by_hand():
    types = [TensorType.full(i(8), (3, 5)), TensorType.full(i(16), (1, 5))]
    types.append(TensorType(u(4), (1, 1), 3, 9))
    assert Mul(i(12)).work(types, TensorType.full(i(12), (3, 5))) == Work(
        muls={(16, 8): 15},
        shifts={24: 15},
        adds={24: 15},
        compares={24: 15},
        const_bits=4,
        in_bits=120 + 80,
        out_bits=180,
    )


def test_ranks_must_agree():
    types = [TensorType.full(i(8), (3,)), TensorType.full(i(8), (3,)), TensorType.full(i(2), ())]
    with pytest.raises(UserError, match=r"differ in rank; reshape one of them"):
        Mul(i(8)).infer(types)
