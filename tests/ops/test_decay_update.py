"""`decay_update`: h (1 - k) + u b with one rounding."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import DecayUpdate
from tests.ops.check import check, draw_type


def plain_of(bits):
    """Round the exact rational half up; operands are nested [R][N] lists that broadcast."""

    def at(x, r, n):
        return x[r % len(x)][n % len(x[0])]

    def plain(h, k, u_, b, lift):
        return [
            [
                floor(
                    h[r][n] * (1 - Fraction(at(k, r, n), 2**bits))
                    + Fraction(at(u_, r, n) * at(b, r, n) * 2 ** at(lift, r, n), 2**bits)
                    + Fraction(1, 2)
                )
                for n in range(len(h[0]))
            ]
            for r in range(len(h))
        ]

    return plain


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 16), st.booleans())
def test_equals_exact_fractions(seed, bits, wide):
    rng = np.random.default_rng(seed)
    shapes = [(3, 5), (3, 1), (1, 5), (1, 1)]
    pick = [shapes[n] for n in rng.integers(4, size=4)]
    most = 26 if wide else 8
    k_hi = int(rng.integers(0, 2**bits, endpoint=True))
    types = [
        draw_type(rng, (3, 5), most),
        TensorType(u(17), pick[0], 0, k_hi),
        draw_type(rng, pick[1], most // 2),
        draw_type(rng, pick[2], most // 2),
        TensorType(u(5), pick[3], 0, int(rng.integers(0, 5))),
    ]
    check(DecayUpdate(bits, i(8)), types, plain_of(bits), rng, constants=(4,))


def test_slow_decays_move_the_state():
    """With k = 1 of 2^16 a state of 2^15 or more loses one LSB; a smaller one rounds back."""
    one = np.array([1])
    h = np.array([40000, 32769, 32768, 32767, -40000])
    got = DecayUpdate(16, i(24)).meaning(h, one, 0 * one, 0 * one, 0 * one)
    assert got.tolist() == [39999, 32768, 32768, 32767, -39999]


def test_the_ends_of_k():
    zero, h = np.array([0]), np.array([-7, 0, 9])
    op = DecayUpdate(8, i(8))
    assert op.meaning(h, np.array([0]), zero, zero, zero).tolist() == [-7, 0, 9]
    assert op.meaning(h, np.array([256]), zero, zero, zero).tolist() == [0, 0, 0]


def full(dtype, shape):
    return TensorType.full(dtype, shape)


@pytest.mark.parametrize(
    ("changed", "type_", "said"),
    [
        (1, full(u(9), (3, 1)), r"k must lie in 0\.\.2\^8"),
        (1, full(i(4), (3, 1)), r"k must lie in 0\.\.2\^8"),
        (4, full(i(4), (1, 1)), r"lift must lie in 0\.\.62, got i4"),
        (4, TensorType(u(6), (1, 1), 0, 63), r"lift must lie in 0\.\.62, got u6"),
        (0, full(i(8), (1, 5)), r"operands broadcast to \[3, 5\], the state is i8\[1,5\]"),
        (2, full(i(8), (3,)), "differ in rank"),
        (3, full(i(8), (1, 4)), "do not broadcast"),
    ],
)
def test_illegal_operands_are_refused(changed, type_, said):
    types = [full(i(8), (3, 5)), full(u(8), (3, 1)), full(i(8), (3, 1)), full(i(8), (1, 5))]
    types.append(full(u(2), (1, 1)))
    types[changed] = type_
    with pytest.raises(UserError, match=f"operator decay_update: .*{said}"):
        DecayUpdate(8, i(8)).infer(types)


def test_negative_decay_bits_are_refused():
    t = full(u(1), (1, 1))
    with pytest.raises(UserError, match=r"decay_bits is -1, must not be negative"):
        DecayUpdate(-1, i(8)).infer([t] * 5)


def test_bounds_are_reached():
    types = [full(i(8), (1, 1)), TensorType(u(8), (1, 1), 0, 255), full(i(4), (1, 1))]
    types += [full(i(4), (1, 1)), TensorType(u(4), (1, 1), 0, 3)]
    op = DecayUpdate(4, i(8))
    types[1] = TensorType(u(8), (1, 1), 0, 16)
    raw = op.infer(types)
    lo = op.meaning(*(np.array([[v]]) for v in (-128, 0, -8, 7, 3)))
    hi = op.meaning(*(np.array([[v]]) for v in (127, 0, -8, -8, 3)))
    assert (raw.lo, raw.hi) == (int(lo[0, 0]), int(hi[0, 0])) == (-156, 159)


def test_work_is_counted_by_hand():
    types = [full(i(24), (3, 5)), full(u(16), (3, 1)), full(i(16), (3, 1)), full(i(8), (1, 5))]
    types.append(full(u(4), (1, 1)))
    op = DecayUpdate(16, i(24))
    assert op.work(types, TensorType.full(i(24), (3, 5))) == Work(
        macs={(24, 16): 15, (16, 8): 15},
        adds={40: 15},
        shifts={40: 15},
        compares={40: 15},
        const_bits=4,
        in_bits=3 * 16 + 3 * 16 + 5 * 8,
        out_bits=15 * 24,
        state_read_bits=15 * 24,
        state_write_bits=15 * 24,
    )
