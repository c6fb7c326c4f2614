"""`group_read`: a state quantised again along its other axis, and contracted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import GroupRead
from tests.ops.check import check, draw_type
from tests.ops.test_group_shift import shift_of


@settings(max_examples=40)
@given(
    st.integers(0, 2**32), st.integers(1, 10), st.integers(1, 9), st.sampled_from([4, 8]),
    st.sampled_from([2, 15]),
)  # fmt: skip
def test_equals_exact_arithmetic(seed, n, group, bits, most):
    rng = np.random.default_rng(seed)
    top, columns = 2 ** (bits - 1), 3

    def plain(h, c, t):
        found = []
        for p in range(columns):
            total = 0
            for first in range(0, n, group):
                members = range(first, min(first + group, n))
                s = shift_of([h[k][p] for k in members], bits, most)
                for k in members:
                    q = min(max((2 * h[k][p] + 2**s) // 2 ** (s + 1), -top), top - 1)
                    total += q * c[k][0] * 2 ** (s + t[k][0])
            found.append(total)
        return found

    h, c = draw_type(rng, (n, columns), 20), draw_type(rng, (n, 1), 8)
    check(GroupRead(group, bits, most), [h, c, TensorType.full(u(3), (n, 1))], plain, rng)


def test_the_state_has_the_whole_shape_and_two_axes():
    row, h = TensorType.full(i(8), (1, 8)), TensorType.full(i(8), (4, 8))
    vector = TensorType.full(i(8), (8,))
    with pytest.raises(UserError, match=r"operands broadcast to \[4, 8\]"):
        GroupRead(8, 8, 15).infer([row, h, TensorType.full(u(4), (4, 8))])
    with pytest.raises(UserError, match=r"operands broadcast to \[8\]"):
        GroupRead(8, 8, 15).infer([vector, vector, TensorType.full(u(4), (8,))])


def test_work_is_counted_by_hand():
    h = TensorType.full(i(32), (2, 16, 5))
    c, t = TensorType.full(i(8), (1, 16, 1)), TensorType.full(u(4), (1, 16, 1))
    op = GroupRead(8, 8, 15)
    out = op.infer([h, c, t])
    assert out.hi == 16 * 2**14 * 2**30
    groups, wide = 2 * 2 * 5, out.dtype.bits
    assert op.work([h, c, t], out) == Work(
        macs={(8, 8): 160},
        compares={32: 320},
        adds={32: groups + 160, wide: groups},
        shifts={32: groups + 160, wide: groups},
        in_bits=160 * 32 + 16 * 12,
        out_bits=10 * wide,
    )
