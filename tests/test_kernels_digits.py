"""Products digit by digit: digits rebuild every integer, sums are exact at the ends of ranges."""

import numpy as np
import pytest
import torch

from cosim.ir.types import TensorType, i, u
from cosim.kernels import digits
from cosim.kernels.digits import (
    DigitLinear,
    digit_count,
    folding_pays,
    scale_operands,
    split_rows,
    sum_digits,
)
from cosim.kernels.linear import PreparedLinear
from cosim.ops import Linear
from cosim.ops.group_scale import code_bounds
from tests.ops.check import draw_data

CPU = torch.device("cpu")
has_int8 = pytest.mark.skipif(
    not torch.cpu._is_vnni_supported(), reason="the CPU has no exact int8 product"
)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_digits_rebuild_every_integer_they_can_hold(count):
    ones = sum(256**d for d in range(count))
    lo, hi = -128 * ones, 127 * ones
    assert digit_count(lo, hi) == count
    assert digit_count(lo - 1, hi) == digit_count(lo, hi + 1) == count + 1
    ends = [lo, lo + 1, -129, -128, -1, 0, 127, 128, hi - 1, hi]
    x = np.array([v for v in ends if lo <= v <= hi] + list(range(max(lo, -40000), min(hi, 40000))))
    out = np.empty((count, 1, x.size), dtype=np.int8)
    split_rows(x[None].copy(), out)
    rebuilt = sum(out[d, 0].astype(np.int64) * 256**d for d in range(count))
    assert np.array_equal(rebuilt, x)


@pytest.mark.parametrize(
    ("row", "shift", "needed"),
    [
        ([0, 0], 0, 1),
        ([127 << 9, -128 << 9], 9, 1),
        ([128 << 9, -(1 << 9)], 9, 2),
        ([(1 << 14) - 1, -(1 << 14)], 0, 2),
        ([(1 << 14), -1], 0, 3),  # 32639 is the most that two digits hold
        ([(1 << 22) - 1, -(1 << 22)], 0, 3),
        ([1 << 40, 1 << 10], 10, 5),
        ([-(1 << 62), -(1 << 62)], 62, 1),
    ],
)
def test_zeros_below_all_integers_of_a_row_need_no_digits(row, shift, needed):
    q = np.array([*row, 1 << 20, 1 << 20], np.int64)
    x, shifts = np.empty((2, 2), np.int64), np.empty(2, np.int64)
    found = scale_operands(q, 2, digits.NO_CODES, 0, 0, 2, (0, 2), x, shifts)
    assert (found, shifts.tolist()) == (needed, [shift, 20])
    assert [[v << shift for v in x[0].tolist()], x[1].tolist()] == [row, [1, 1]]
    out = np.empty((needed, 2, 2), np.int8)
    want = x.copy()
    split_rows(x, out)
    assert np.array_equal(sum(out[d].astype(np.int64) << 8 * d for d in range(needed)), want)


def test_sums_of_digits_are_weighted_by_256_and_by_the_row():
    products = np.array([[[1, 2]], [[10, -20]], [[100, 7]]], dtype=np.int32)
    out = np.empty((1, 2), dtype=np.int64)
    sum_digits(products, 1, np.array([3, 5]), np.array([2]), True, out)
    want = [12 * (1 + 2560 + 6553600), 20 * (2 - 20 * 256 + 7 * 65536)]
    assert out.tolist() == [want]
    sum_digits(products, 1, np.array([3, 5]), np.array([2]), False, out)
    assert out.tolist() == [[2 * v for v in want]]
    two = np.concatenate([products, products], axis=2)
    sum_digits(two, 2, np.array([3, 5]), np.array([2]), True, out)
    assert out.tolist() == [[257 * v for v in want]]


def linear(k, rows, weight_group, act_group, mantissa, highest, q_type):
    op = Linear(weight_group, act_group, mantissa)
    types = [
        TensorType.full(q_type, (k,)),
        TensorType.full(i(8), (rows, k)),
        TensorType.full(u(8), (rows, -(-k // weight_group))),
    ]
    if act_group:
        types.append(TensorType(u(7), (-(-k // act_group),), 0, highest))
    return op, types


@has_int8
@pytest.mark.parametrize(
    ("k", "weight_group", "act_group", "mantissa", "highest", "q_type"),
    [
        (192, 192, 16, 2, 23, i(8)),
        (192, 128, 16, 2, 40, i(4)),
        (100, 100, 16, 2, 72, i(8)),  # a last group of 4 activations
        (100, 40, 16, 0, 20, i(8)),  # weight groups that cut groups of activations
        (96, 48, 0, 0, 0, i(16)),  # wide activations without scales
        (64, 32, 64, 3, 40, i(8)),  # one scale per token
        (192, 16, 8, 3, 72, i(8)),  # weights in digits as well
        (195, 17, 8, 3, 72, i(6)),  # the same, with ragged groups
        (256, 16, 8, 2, 109, i(8)),  # partial sums that wrap around
    ],
)
@pytest.mark.parametrize("block", [1, 7 * 5 * 3, 1 << 18])
def test_products_equal_the_meaning(
    monkeypatch, k, weight_group, act_group, mantissa, highest, q_type, block
):
    monkeypatch.setattr(digits, "BLOCK_INTEGERS", block)
    rng = np.random.default_rng(k + highest)
    op, types = linear(k, 5, weight_group, act_group, mantissa, highest, q_type)
    for kind in ("random", "corners", "high", "low"):
        w, m = (draw_data(rng, t, (), kind) for t in types[1:3])
        prepared = PreparedLinear(op, types, [None, w, m], CPU, True)
        assert prepared.digits is not None
        for lead in ((1,), (3, 7), (2, 17)):
            moving = [draw_data(rng, t, lead, kind) for t in (types[0], *types[3:])]
            want = op.meaning(moving[0], w, m, *moving[1:])
            got = prepared.product(*(torch.from_numpy(a) for a in moving))
            assert np.array_equal(got.numpy(), want)


@has_int8
def test_operands_may_be_views_and_the_largest_sums_are_exact():
    """All operands at their ends: the largest magnitude the proof allows, from a slice."""
    op, types = linear(64, 3, 64, 16, 2, 89, i(8))
    assert code_bounds(types[3], 2)[1] == 5 << 22
    w, m = np.full((3, 64), -128), np.full((3, 1), 255)
    prepared = PreparedLinear(op, types, [None, w, m], CPU, True)
    assert prepared.digits is not None
    q = torch.full((4, 80), -128, dtype=torch.int32)[:, 8:72]
    codes = torch.full((4, 9), 89, dtype=torch.int32)[:, 2:6]
    want = 64 * 128 * 128 * 255 * (5 << 22)
    assert prepared.product(q, codes).tolist() == [[want] * 3] * 4


@has_int8
def test_the_largest_sums_are_exact_where_weights_are_cut_into_digits():
    op, types = linear(128, 3, 8, 16, 2, 89, i(8))
    w, m = np.full((3, 128), -128), np.full((3, 16), 255)
    w[1], w[2] = 127, np.resize([-128, 127], 128)
    prepared = PreparedLinear(op, types, [None, w, m], CPU, True)
    assert [part.planes for part in prepared.digits.parts] == [2]
    q, codes = torch.full((1, 128), -128), torch.full((1, 8), 89)
    unit = 128 * 128 * 255 * (5 << 22)
    assert prepared.product(q, codes).tolist() == [[unit * 128, -unit * 127, unit // 2]]


@pytest.mark.parametrize(
    ("sizes", "pays"),
    [
        ({"k": 192, "weight_group": 16}, True),
        ({"k": 192, "weight_group": 192}, False),  # one pass as it is
        ({"k": 512, "weight_group": 128}, False),  # four passes cost less than twice the product
        ({"k": 1 << 17, "weight_group": 16}, False),  # a digit's sum would leave int32
    ],
)
def test_weights_are_cut_into_digits_where_that_is_exact_and_pays(sizes, pays):
    defaults = {"rows": 3, "act_group": 8, "mantissa": 3, "highest": 72, "q_type": i(8)}
    op, types = linear(**{**defaults, **sizes})
    assert folding_pays(op, types, np.full(types[1].shape, 100)) is pays


def test_digits_are_left_out_where_they_would_not_be_exact_or_fast(monkeypatch):
    def applies(w_peak=127, **changes):
        sizes = {"k": 64, "rows": 3, "weight_group": 64, "act_group": 16, "mantissa": 2}
        op, types = linear(**{**sizes, "highest": 40, "q_type": i(8), **changes})
        return DigitLinear.applies(op, types, np.full(types[1].shape, w_peak))

    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    assert applies()
    assert not applies(w_peak=128), "past int8"
    assert not applies(highest=127), "too many digits"
    assert not applies(weight_group=60), "a last weight group of four columns"
    assert not applies(k=1 << 18, weight_group=1 << 18), "the sum of products leaves int32"
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert not applies()
