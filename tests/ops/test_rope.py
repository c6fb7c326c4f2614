"""`rope`: pairs turned by an angle, each sum rounded once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.numerics import saturate
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Rope
from quant.tables import rope_table
from tests.ops.check import check, draw_type, half_up


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 7), st.integers(0, 15))
def test_equals_the_rotation_in_python_integers(seed, pairs, frac_bits):
    rng = np.random.default_rng(seed)
    size = 2 * pairs

    def plain(x, turn):
        c, s = turn[0][:pairs], turn[0][pairs:]
        first = [[row[j] * c[j] - row[j + pairs] * s[j] for j in range(pairs)] for row in x]
        last = [[row[j + pairs] * c[j] + row[j] * s[j] for j in range(pairs)] for row in x]
        return [[half_up(v, frac_bits) for v in (*a, *b)] for a, b in zip(first, last, strict=True)]

    types = [draw_type(rng, (3, size), 12), draw_type(rng, (1, size), 10)]
    check(Rope(frac_bits, i(8)), types, plain, rng)


@pytest.mark.parametrize(("frac_bits", "most"), [(7, 1.37), (9, 0.72), (11, 0.56), (14, 0.51)])
def test_int8_is_within_the_published_error_of_float64(frac_bits, most):
    """The bounds are errors that others measured on int8 in and out, in LSB (0.5: rounding)."""
    size, theta = 64, 10000.0
    rng = np.random.default_rng(frac_bits)
    positions = np.concatenate([np.arange(64), rng.integers(0, 4096, 400)])
    x = rng.integers(-90, 91, (len(positions), size))  # |pair| <= 127: nothing saturates
    turn = rope_table(4096, size, theta, frac_bits)[positions]
    got = Rope(frac_bits, i(8)).meaning(x, turn)
    error = np.abs(got - rotated(x, positions, theta)).max()
    assert 0.45 < error <= most


def rotated(x, positions, theta):
    """Turn in float64 by its own formula: complex numbers."""
    half = x.shape[-1] // 2
    angles = positions[:, None] * theta ** (-np.arange(half) / half)
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)
    return np.concatenate([z.real, z.imag], axis=-1)


def test_saturating_inputs_are_clipped_at_both_ends():
    table = rope_table(2, 2, 10000.0)
    eighth = np.rint(np.array([[0.5**0.5, 0.5**0.5]]) * 2**14).astype(np.int64)
    assert table[0].tolist() == [1 << 14, 0]
    op = Rope(14, i(8))
    for x, want in (([[127, 127]], [0, 127]), ([[-128, -128]], [0, -128])):
        assert saturate(op.meaning(np.array(x), eighth), i(8)).tolist() == [want]


def test_position_zero_changes_nothing_and_length_is_kept():
    rng = np.random.default_rng(1)
    x = rng.integers(-30000, 30000, (5, 32))
    table = rope_table(300, 32, 500000.0)
    op = Rope(14, i(18))
    assert (op.meaning(x, table[:1]) == x).all()
    y = op.meaning(x, table[299:])
    length = np.hypot(x[:, :16], x[:, 16:])
    assert np.abs(np.hypot(y[:, :16], y[:, 16:]) - length).max() < 4


@pytest.mark.parametrize(
    ("x", "turn"), [((3, 5), (1, 5)), ((3, 4), (4,)), ((3, 4), (3, 4)), ((), ()), ((4,), (2,))]
)
def test_other_shapes_are_refused(x, turn):
    with pytest.raises(UserError, match="operator rope: expected x"):
        Rope(14, i(8)).infer([TensorType.full(i(8), x), TensorType.full(i(16), turn)])


def test_negative_fraction_bits_are_refused():
    with pytest.raises(UserError, match="operator rope: frac_bits -1"):
        Rope(-1, i(8)).infer([TensorType.full(i(8), (2, 4)), TensorType.full(i(16), (1, 4))])


def test_work_is_counted_by_hand():
    x, turn = TensorType.full(i(8), (3, 4)), TensorType.full(i(16), (1, 4))
    want = Work(
        muls={(16, 8): 24}, adds={24: 24}, shifts={24: 12}, compares={8: 12},
        in_bits=96 + 64, out_bits=96,
    )  # fmt: skip
    op = Rope(14, i(8))
    assert op.work([x, turn], op.infer([x, turn])) == want
