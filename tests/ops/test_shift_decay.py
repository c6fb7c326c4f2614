"""`shift_decay`: a state of codes, decayed by a code of few fraction bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import ShiftDecay
from tests.ops.check import check, draw_type


@given(st.integers(0, 2**32), st.integers(1, 11), st.integers(1, 8), st.integers(0, 6))
def test_equals_exact_arithmetic(seed, size, group, down):
    rng = np.random.default_rng(seed)
    q = draw_type(rng, (2, size), 8)
    s = TensorType.full(u(3), (2, -(-size // group)))
    a, t = draw_type(rng, (2, 1), 8), TensorType.full(u(2), (2, 1))
    new = draw_type(rng, (2, size), 12)

    def plain(q, s, a, t, new):
        return [
            [
                (a[r][0] * q[r][k] * 2 ** (s[r][k // group] + t[r][0])) // 2**down + new[r][k]
                for k in range(size)
            ]
            for r in range(2)
        ]

    check(ShiftDecay(group, down, i(12)), [q, s, a, t, new], plain, rng)


def test_a_decay_of_64_with_6_fraction_bits_never_forgets():
    q, s, one, none = np.array([[-128, 127, 3]]), np.array([[5]]), np.array([[64]]), np.array([[0]])
    op = ShiftDecay(8, 6, i(32))
    assert op.meaning(q, s, one, none, none).tolist() == [[-128 * 32, 127 * 32, 3 * 32]]


def test_the_state_must_have_the_whole_shape_and_its_codes():
    q, row = TensorType.full(i(8), (2, 8)), TensorType.full(i(8), (1, 8))
    s, t = TensorType.full(u(4), (2, 1)), TensorType.full(u(4), (1, 1))
    with pytest.raises(UserError, match="expected codes"):
        ShiftDecay(4, 6, i(32)).infer([q, s, row, t, q])
    s1 = TensorType.full(u(4), (1, 1))
    with pytest.raises(UserError, match=r"operands broadcast to \[2, 8\], the state is"):
        ShiftDecay(8, 6, i(32)).infer([row, s1, row, t, q])


def test_work_is_counted_by_hand():
    q, s = TensorType.full(i(8), (4, 8)), TensorType.full(u(4), (4, 1))
    a, t, new = (TensorType.full(d, (1, 1)) for d in (i(8), u(4), i(32)))
    op = ShiftDecay(8, 6, i(32))
    assert op.work([q, s, a, t, new], op.infer([q, s, a, t, new])) == Work(
        macs={(8, 8): 32},
        adds={32: 32, 4: 4},
        shifts={46: 32},
        compares={32: 32},
        in_bits=8 + 4 + 32,
        out_bits=1024,
        state_read_bits=256 + 16,
    )
