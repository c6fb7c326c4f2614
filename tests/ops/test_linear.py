"""`linear`: exact sums of codes times integer scales."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Linear
from tests.ops.check import check, draw_type
from tests.ops.test_dequantize import scale


def plain_of(op):
    def plain(q, w, m, c=None):
        return [
            sum(
                w[r][k]
                * m[r][k // op.weight_group]
                * q[k]
                * (scale(c[k // op.act_group], op.mantissa_bits) if c else 1)
                for k in range(len(q))
            )
            for r in range(len(w))
        ]

    return plain


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(0, 12),
    st.integers(0, 3),
    st.booleans(),
)
def test_equals_the_glossary_in_python_integers(seed, k, weight_group, act_group, mantissa, wide):
    """Groups that do not divide K leave a shorter last one; groups may be wider than K."""
    rng = np.random.default_rng(seed)
    op = Linear(weight_group, act_group, mantissa)
    types = [
        draw_type(rng, (k,), 16 if wide else 6),
        draw_type(rng, (3, k), 8 if wide else 5),
        draw_type(rng, (3, -(-k // weight_group)), 10 if wide else 3),
    ]
    if act_group:
        types.append(TensorType(u(6), (-(-k // act_group),), 0, 14 if wide else 5))
    check(op, types, plain_of(op), rng)


def test_the_peak_holds_the_scale_of_activations_that_are_all_zero():
    """1 << 5 is met on the way, though nothing is left of it."""
    zero = TensorType(i(1), (1,), 0, 0)
    types = [zero, TensorType.full(i(3), (3, 1)), TensorType(u(1), (3, 1), 0, 0),
             TensorType(u(6), (1,), 0, 5)]  # fmt: skip
    assert Linear(1, 1).peak(types) == 32


def test_equals_numpy_for_plain_rows():
    rng = np.random.default_rng(0)
    q, w = rng.integers(-128, 128, (4, 50)), rng.integers(-8, 8, (30, 50))
    m = rng.integers(0, 999, (30, 1))
    assert np.array_equal(Linear(50).meaning(q, w, m), q @ w.T * m[:, 0])


def test_bounds_are_reached():
    types = [TensorType.full(i(8), (5,)), TensorType.full(i(4), (2, 5))]
    types += [TensorType(u(8), (2, 2), 1, 3), TensorType(u(4), (1,), 0, 6)]
    op = Linear(3, 8, 1)
    top = scale(6, 1) * 3 * 5
    assert str(op.infer(types)) == f"i19[2] in {-8 * 127 * top}..{8 * 128 * top}"
    ends = [np.full((2, 5), -8), np.full((2, 2), 3), np.array([6])]
    assert op.meaning(np.full(5, 127), *ends).tolist() == [-8 * 127 * top] * 2
    assert op.meaning(np.full(5, -128), *ends).tolist() == [8 * 128 * top] * 2


@pytest.mark.parametrize(
    ("op", "shapes", "said"),
    [
        (Linear(4), [(6,), (3, 5), (3, 2)], r"expected q \[K\] and W \[R,K\]"),
        (Linear(4), [(2, 6), (3, 6), (3, 2)], r"expected q \[K\] and W \[R,K\]"),
        (Linear(4), [(), (3,), (3, 1)], r"expected q \[K\] and W \[R,K\]"),
        (Linear(4), [(6,), (6,), (1, 2)], r"expected q \[K\] and W \[R,K\]"),
        (Linear(4), [(6,), (3, 6), (3, 1)], r"expected m \[3, 2\]"),
        (Linear(0), [(6,), (3, 6), (3, 1)], "weight_group is 0, must be at least 1"),
        (Linear(4, 4), [(6,), (3, 6), (3, 2)], "act_group=4 and 3 inputs disagree"),
        (Linear(4), [(6,), (3, 6), (3, 2), (2,)], "act_group=0 and 4 inputs disagree"),
        (Linear(4, 4), [(6,), (3, 6), (3, 2), (3,)], r"expected codes \[2\] >= 0"),
        (Linear(4, 4, 4), [(6,), (3, 6), (3, 2), (2,)], "mantissa_bits 4"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(op, shapes, said):
    with pytest.raises(UserError, match=f"operator linear: {said}|operator linear: .*{said}"):
        op.infer([TensorType.full(u(3), s) for s in shapes])


def test_a_sum_past_63_bits_is_refused():
    types = [TensorType.full(i(32), (6,)), TensorType.full(i(32), (3, 6))]
    types.append(TensorType.full(u(1), (3, 1)))
    with pytest.raises(UserError, match=r"operator linear: .* needs 66 bits, more than 63"):
        Linear(6).infer(types)


def test_work_is_counted_by_hand():
    """K = 10 in weight groups of 4 (three per row) and activation groups of 3 (four)."""
    types = [TensorType.full(i(8), (10,)), TensorType.full(i(4), (5, 10))]
    types += [TensorType.full(u(6), (5, 3)), TensorType.full(u(3), (4,))]
    op = Linear(4, 3, 1)
    out = op.infer(types)
    assert op.work(types, out) == Work(
        macs={(8, 4): 50},
        muls={(12, 6): 15},
        shifts={out.dtype.bits: 20},
        adds={out.dtype.bits: 20},
        const_bits=50 * 4 + 15 * 6,
        in_bits=10 * 8 + 4 * 3,
        out_bits=5 * out.dtype.bits,
    )


def test_scales_of_one_cost_no_multiplication():
    types = [TensorType.full(i(8), (10,)), TensorType.full(i(4), (5, 10))]
    types.append(TensorType.full(u(1), (5, 1)))
    work = Linear(10).work(types, Linear(10).infer(types))
    assert (work.muls, work.shifts, work.adds) == ({}, {}, {})
