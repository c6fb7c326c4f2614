"""`group_scale`: the smallest shared scale that reaches the group's maximum."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import GroupScale, Quantize
from tests.ops.check import check, draw_type
from tests.ops.test_dequantize import scale


def plain_of(op):
    """Search all codes upward for the first whose scale reaches t, as the glossary says."""
    n = 2 ** (op.bits - 1) - 1
    ratio = round(Fraction(2**16 * op.clip * 2, 16 * (2 * n + 1)))

    def code(values):
        t = ceil(Fraction(max(abs(v) for v in values) * ratio, 2**16))
        c = 0
        while scale(c, op.mantissa_bits) < t:
            c += 1
        return c

    def plain(x):
        return [[code(row[k : k + op.group]) for k in range(0, len(row), op.group)] for row in x]

    return plain


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.integers(1, 7),
    st.sampled_from([(8, 0, 16), (4, 0, 16), (4, 1, 12), (6, 3, 16), (2, 2, 8), (16, 0, 16)]),
)
def test_equals_a_search_over_all_codes(seed, size, group, form):
    rng = np.random.default_rng(seed)
    op = GroupScale(group, *form)
    for most_bits in (9, 14, 30):
        check(op, [draw_type(rng, (2, size), most_bits)], plain_of(op), rng)


@pytest.mark.parametrize("mantissa_bits", [0, 1, 2, 3])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_every_small_maximum(bits, mantissa_bits):
    op = GroupScale(1, bits, mantissa_bits)
    x = np.arange(-3000, 3001)
    assert op.meaning(x).tolist() == plain_of(op)([x.tolist()])[0]
    assert op.infer([TensorType(i(13), (6001,), -3000, 3000)]).hi == op.meaning(x).max()


@pytest.mark.parametrize("bits", [4, 6, 8, 12])
def test_without_clip_the_largest_element_saturates_by_rounding_alone(bits):
    """R is rounded to 2^-16: x / S may pass n + 1/2 by that much, so by one code, never more."""
    top = 1 << 23
    x = np.unique(np.concatenate([np.arange(1, 1 << 16), top - np.arange(1 << 14)]))[:, None]
    scales = GroupScale(1, bits).meaning(x)
    n = 2 ** (bits - 1) - 1
    raw = Quantize(1, i(bits)).meaning(x, scales)
    assert raw.max() <= n + 1
    over = x[:, 0] / 2.0 ** scales[:, 0] - (n + 0.5)
    assert over.max() <= (n + 0.5) * 2.0 ** (bits - 17)
    negative = Quantize(1, i(bits)).meaning(-x, scales)
    assert negative.min() >= -n - 1


def test_a_group_may_be_wider_than_twice_the_axis():
    x = np.array([[3, -100]])
    assert GroupScale(64, 8).meaning(x).tolist() == GroupScale(2, 8).meaning(x).tolist()


def test_clip_halves_the_wanted_scale():
    """clip = 8 takes half the maximum as the range: the code is one power of two lower."""
    x = np.array([100, 1000, 10000, 100000])
    whole, half = GroupScale(1, 8, 0, 16).meaning(x), GroupScale(1, 8, 0, 8).meaning(x)
    assert (whole - half).tolist() == [0, 1, 1, 1]


def test_zero_has_the_smallest_scale():
    assert GroupScale(3, 8, 2).meaning(np.zeros(7, dtype=np.int64)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("op", "said"),
    [
        (GroupScale(0, 8), "group 0, bits 8, mantissa_bits 0: need group >= 1"),
        (GroupScale(4, 1), "bits 1"),
        (GroupScale(4, 17), "bits 17"),
        (GroupScale(4, 8, 4), "mantissa_bits 4"),
        (GroupScale(4, 8, -1), "mantissa_bits -1"),
        (GroupScale(4, 8, 0, 7), r"clip 7 must be 8\.\.16"),
        (GroupScale(4, 8, 0, 17), r"clip 17 must be 8\.\.16"),
    ],
    ids=str,
)
def test_other_attributes_are_refused(op, said):
    with pytest.raises(UserError, match=f"operator group_scale: .*{said}"):
        op.infer([TensorType.full(i(8), (5,))])


def test_a_scalar_is_refused():
    with pytest.raises(UserError, match=r"not a scalar"):
        GroupScale(4, 8).infer([TensorType.full(i(8), ())])


def test_work_is_counted_by_hand():
    x = TensorType.full(i(16), (2, 5))
    out = GroupScale(4, 8).infer([x])
    assert GroupScale(4, 8).work([x], out) == Work(
        compares={16: 10},
        muls={(16, 16): 4},
        shifts={16: 4},
        in_bits=160,
        out_bits=4 * out.dtype.bits,
    )
