"""`leak`: scale toward zero, as netx neurons do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Leak, Rescale
from tests.ops.check import check, draw_type


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 14))
def test_divides_magnitudes(seed, shift):
    rng = np.random.default_rng(seed)
    types = [draw_type(rng, (2, 3), 24), draw_type(rng, (1, 3), 13, signed=False)]

    def plain(x, m):
        return [
            [(-1 if v < 0 else 1) * (abs(v) * f // 2**shift) for v, f in zip(r, m[0], strict=True)]
            for r in x
        ]

    check(Leak(shift, i(40)), types, plain, rng)


def test_every_potential_comes_to_rest_at_zero_where_rounding_half_up_gets_stuck():
    m, s = np.array([3072]), np.array([12])
    v = held = np.arange(-4000, 4001)
    for _ in range(60):
        v = Leak(12, i(24)).meaning(v, m)
        held = Rescale(i(24)).meaning(held, m, s)
    assert (v == 0).all()
    assert set(np.unique(held)) == {-1, 0, 1, 2}


@pytest.mark.parametrize(
    ("op", "m", "said"),
    [
        (Leak(64, i(8)), TensorType.full(u(4), (1,)), "shift is 64"),
        (Leak(-1, i(8)), TensorType.full(u(4), (1,)), "shift is -1"),
        (Leak(2, i(8)), TensorType.full(i(4), (1,)), "must not be negative"),
    ],
    ids=str,
)
def test_other_factors_are_refused(op, m, said):
    with pytest.raises(UserError, match=f"operator leak: .*{said}"):
        op.infer([TensorType.full(i(8), (3,)), m])


def test_work_is_counted_by_hand():
    types = [TensorType.full(i(24), (5,)), TensorType.full(u(13), (1,))]
    assert Leak(12, i(24)).work(types, Leak(12, i(24)).infer(types)) == Work(
        muls={(24, 13): 5}, adds={24: 10}, compares={37: 5}, const_bits=13, in_bits=120,
        out_bits=120,
    )  # fmt: skip
