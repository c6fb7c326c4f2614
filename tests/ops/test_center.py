"""`center`: x minus its mean, the mean rounded once."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Center, RmsNorm
from tests.ops.check import check, draw_data, draw_type


def plain(x):
    d = len(x)
    s = 16 + d.bit_length()
    reciprocal = (2 ** (s + 1) + d) // (2 * d)
    mean = (sum(x) * reciprocal + 2 ** (s - 1)) // 2**s
    return [v - mean for v in x]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_equals_the_glossary_in_python_integers(seed, size):
    rng = np.random.default_rng(seed)
    check(Center(), [draw_type(rng, (size,), 12)], plain, rng)
    check(Center(), [draw_type(rng, (size,), 34)], plain, rng)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12, 96, 1000, 1024])
def test_the_mean_is_exact_within_its_rounding(size):
    """R is off by less than 2^-17 of itself, and the product is rounded to half an LSB."""
    rng = np.random.default_rng(size)
    t = TensorType.full(i(16), (size,))
    for kind in ("random", "corners", "high", "low"):
        x = draw_data(rng, t, (20,), kind)
        mean = (x - Center().meaning(x))[:, 0]
        for row, got in zip(x.tolist(), mean.tolist(), strict=True):
            exact = Fraction(sum(row), size)
            assert abs(got - exact) <= Fraction(1, 2) + abs(exact) / 2**17


def test_one_element_is_its_own_mean():
    x = np.array([[-32768], [0], [5], [32767]])
    assert Center().meaning(x).tolist() == [[0]] * 4


def test_the_spread_is_reached():
    t = TensorType.full(i(8), (1000,))
    x = np.full(1000, -128)
    x[0] = 127
    assert Center().meaning(x)[0] == 255
    assert str(Center().infer([t])) == "i10[1000] in -256..256"


def test_a_scalar_is_refused():
    with pytest.raises(UserError, match=r"operator center: needs a vector"):
        Center().infer([TensorType.full(i(8), ())])


def test_work_is_counted_by_hand():
    x = TensorType.full(i(8), (2, 10))
    want = Work(adds={12: 40}, muls={(17, 12): 2}, shifts={12: 2}, in_bits=160, out_bits=20 * 10)
    assert Center().work([x], Center().infer([x])) == want


@pytest.mark.parametrize("size", [1, 3, 96, 384, 1000])
@pytest.mark.parametrize("offset", [0, 9000])
def test_with_rms_norm_it_is_layer_norm(size, offset):
    """Source: torch's LayerNorm in float64, of the same eps; y has 12 fraction bits."""
    rng = np.random.default_rng(size)
    x = rng.integers(-20000, 20000, (50, size)) + offset
    eps = 100 * size
    norm = RmsNorm(12, eps, i(24))
    got = norm.meaning(Center().meaning(x)) / 2.0**12
    want = torch.nn.functional.layer_norm(torch.from_numpy(x).double(), (size,), eps=100.0).numpy()
    assert np.abs(got - want).max() <= 2.0**-13 * np.abs(want).max() + 2.0**-12
