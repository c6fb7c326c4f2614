"""`group_shift`: the power-of-two scale of LightMamba's quantiser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import GroupScale, GroupShift, Quantize
from tests.ops.check import check, draw_type


def shift_of(values, bits, most):
    """Search upward for the first shift under which the maximum less one has `bits` - 1 bits."""
    top = max(abs(v) for v in values)
    top = top - 1 if top >= 1 else top
    s = 0
    while s < most and top // 2**s >= 2 ** (bits - 1):
        s += 1
    return s


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(1, 19),
    st.integers(1, 9),
    st.sampled_from([(8, 15), (4, 15), (16, 15), (4, 3), (2, 0)]),
)
def test_equals_a_search_over_all_shifts(seed, size, group, form):
    rng = np.random.default_rng(seed)

    def plain(x):
        return [
            [shift_of(row[k : k + group], *form) for k in range(0, len(row), group)] for row in x
        ]

    for most_bits in (9, 14, 33):
        check(GroupShift(group, *form), [draw_type(rng, (2, size), most_bits)], plain, rng)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_largest_value_saturates_where_it_is_a_power_of_two(bits):
    """The published rule takes 1 off the maximum: +2^k becomes 2^(bits-1), one code too much."""
    x = np.array([[1 << k] for k in range(bits - 1, bits + 14)])
    s = GroupShift(1, bits, 15).meaning(x)
    raw = Quantize(1, i(bits)).meaning(x, s)
    assert (raw == 1 << (bits - 1)).all()
    assert (Quantize(1, i(bits)).meaning(-x, s) == -(1 << (bits - 1))).all()
    assert (GroupScale(1, bits).meaning(x) == s + 1).all()


def test_small_values_fall_to_the_last_bit_and_large_ones_hit_the_ceiling():
    x = np.array([[0], [1], [-128], [129], [127 << 15], [1 << 22], [(1 << 22) + 1], [1 << 30]])
    assert GroupShift(1, 8, 15).meaning(x)[:, 0].tolist() == [0, 0, 0, 1, 15, 15, 15, 15]


@pytest.mark.parametrize(
    ("op", "said"),
    [
        (GroupShift(0, 8, 15), "group 0"),
        (GroupShift(8, 1, 15), "bits 1"),
        (GroupShift(8, 17, 15), "bits 17"),
        (GroupShift(8, 8, 32), "most 32"),
        (GroupShift(8, 8, -1), "most -1"),
    ],
    ids=str,
)
def test_other_attributes_are_refused(op, said):
    with pytest.raises(UserError, match=f"operator group_shift: .*{said}"):
        op.infer([TensorType.full(i(8), (5,))])


def test_a_scalar_is_refused():
    with pytest.raises(UserError, match="is a scalar"):
        GroupShift(8, 8, 15).infer([TensorType.full(i(8), ())])


def test_work_is_counted_by_hand():
    x = TensorType.full(i(16), (2, 5))
    out = GroupShift(4, 8, 15).infer([x])
    assert out == TensorType(out.dtype, (2, 2), 0, 8)
    assert GroupShift(4, 8, 15).work([x], out) == Work(
        compares={16: 10}, adds={16: 4}, shifts={16: 4}, in_bits=160, out_bits=16
    )
