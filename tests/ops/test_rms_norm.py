"""`rms_norm`: x over the root of its mean square, in integers."""

from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import RmsNorm
from cosim.ops.rms_norm import BASE, FALL
from tests.ops.check import check, draw_data, draw_type, half_up


def plain_of(op):
    """Follow the glossary in Python integers; only the 192-entry table is shared."""

    def plain(x):
        s = sum(v * v for v in x) + op.eps
        j = 0
        while s >= 4 ** (j + 8):
            j += 1
        while s < 4 ** (j + 7):
            j -= 1
        m = s * 4**-j if j < 0 else s // 4**j
        assert 2**14 <= m < 2**16
        k, offset = divmod(m, 256)
        r = (BASE[k - 64] - FALL[k - 64] * offset // 256 + 8) // 16
        c = (isqrt(len(x) * 4**14) + 1) // 2
        return [half_up(v * r * c, 36 + j - op.frac_bits) for v in x]

    return plain


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(0, 20))
def test_equals_the_glossary_in_python_integers(seed, size, frac_bits):
    rng = np.random.default_rng(seed)
    for most_bits, eps in ((6, 1), (16, int(rng.integers(1, 2**20))), (24, 5)):
        op = RmsNorm(frac_bits, eps, i(16))
        check(op, [draw_type(rng, (size,), most_bits)], plain_of(op), rng)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12, 96, 768, 1000])
@pytest.mark.parametrize("bits", [4, 12, 24])
def test_is_within_2_to_the_minus_13_of_exact(size, bits):
    """Plus half an LSB of the output for the last rounding."""
    rng = np.random.default_rng(size * 100 + bits)
    frac, eps = 14, 3
    t = TensorType.full(i(bits), (size,))
    scales = 2.0 ** -rng.integers(0, bits, (300, 1))
    x = (rng.integers(t.lo, t.hi, (300, size)) * scales).astype(np.int64)
    x = np.concatenate([x, draw_data(rng, t, (2,), "high"), draw_data(rng, t, (20,), "corners")])
    got = RmsNorm(frac, eps, i(32)).meaning(x)
    wide = x.astype(np.longdouble)
    root = np.sqrt(((wide * wide).sum(axis=-1, keepdims=True) + eps) / size)
    exact = wide / root * 2.0**frac
    assert (np.abs(got - exact) <= 0.5 + np.abs(exact) * 2.0**-13).all()


def test_equals_torch_in_float():
    """The yardstick that we did not write: torch's own RMSNorm in float64."""
    import torch

    x = np.random.default_rng(0).integers(-30000, 30000, (50, 96))
    real = torch.from_numpy(x).double() / 2**12
    want = torch.nn.functional.rms_norm(real, (96,), eps=1e-5).numpy()
    eps = round(1e-5 * 96 * 4**12)
    got = RmsNorm(12, eps, i(24)).meaning(x) / 2.0**12
    assert np.abs(got - want).max() <= 0.5 * 2.0**-12 + np.abs(want).max() * 2.0**-13


@pytest.mark.parametrize("size", [1, 3, 5, 12, 1000])
def test_a_one_hot_input_comes_near_the_bound(size):
    op = RmsNorm(12, 1, i(32))
    x = np.zeros((4000, size), dtype=np.int64)
    x[:, 0] = np.linspace(1000, (1 << 23) - 1, 4000).astype(np.int64)
    raw, top = op.infer([TensorType.full(i(24), (size,))]), op.meaning(x).max()
    assert raw.hi * (1 - 2.0**-11) - 2 <= top <= raw.hi


def test_small_inputs_over_a_large_eps_have_a_smaller_bound():
    """sqrt(D) 2^F is out of reach where eps outweighs every sum of squares."""
    t, op = TensorType(i(8), (4,), -2, 2), RmsNorm(40, 1 << 30, i(63))
    raw = op.infer([t])
    assert op.meaning(np.full(4, 2)).max() <= raw.hi < (2 << 40) // 100
    assert op.peak([t]) >= raw.hi


@pytest.mark.parametrize(
    ("op", "shape", "said"),
    [
        (RmsNorm(8, 0, i(8)), (3,), "eps 0"),
        (RmsNorm(-1, 1, i(8)), (3,), "frac_bits -1"),
        (RmsNorm(8, 1, i(8)), (), "needs a vector"),
    ],
    ids=str,
)
def test_illegal_uses_are_refused(op, shape, said):
    with pytest.raises(UserError, match=f"operator rms_norm: .*{said}"):
        op.infer([TensorType.full(i(8), shape)])


def test_work_is_counted_by_hand():
    x = TensorType.full(i(24), (2, 5))
    assert RmsNorm(8, 1, i(16)).work([x], TensorType.full(i(16), (2, 5))) == Work(
        macs={(24, 24): 10},
        muls={(32, 24): 10},
        shifts={40: 10},
        adds={40: 10},
        compares={40: 10},
        lookups={20: 4},
        in_bits=240,
        out_bits=160,
    )
