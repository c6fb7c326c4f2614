"""`fir`: a window against taps, per channel, plus a bias."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Fir
from tests.ops.check import check, draw_type


def plain(window, taps, bias):
    return [
        bias[c] + sum(window[k][c] * taps[k][c] for k in range(len(taps))) for c in range(len(bias))
    ]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 5), st.booleans())
def test_sums_products_of_python_integers(seed, size, wide):
    rng = np.random.default_rng(seed)
    most = 30 if wide else 12
    types = [draw_type(rng, (size, 3), most), draw_type(rng, (size, 3), 12)]
    types.append(draw_type(rng, (3,), 2 * most))
    check(Fir(), types, plain, rng, constants=(1, 2))


def test_equals_numpy_convolution():
    rng = np.random.default_rng(0)
    x, taps = rng.integers(-50, 50, 30), rng.integers(-9, 9, 4)
    windows = np.lib.stride_tricks.sliding_window_view(x, 4)[..., None]
    got = Fir().meaning(windows, taps[:, None], np.array([7]))
    assert got[:, 0].tolist() == (np.convolve(x, taps[::-1], "valid") + 7).tolist()


def test_bounds_are_reached():
    types = [TensorType.full(i(8), (3, 1)), TensorType.full(i(4), (3, 1))]
    types.append(TensorType(i(8), (1,), -5, 6))
    assert str(Fir().infer(types)) == f"i13[1] in {-5 - 3 * 127 * 8}..{6 + 3 * 128 * 8}"
    low = Fir().meaning(np.full((3, 1), 127), np.full((3, 1), -8), np.array([-5]))
    high = Fir().meaning(np.full((3, 1), -128), np.full((3, 1), -8), np.array([6]))
    assert (low.tolist(), high.tolist()) == ([-3053], [3078])


def test_a_bias_may_hide_a_larger_sum_but_not_from_the_peak():
    types = [TensorType.full(u(8), (4, 1)), TensorType.full(u(8), (4, 1))]
    types.append(TensorType(i(32), (1,), -130050, -130050))
    assert Fir().infer(types).peak == 130050
    assert Fir().peak(types) >= 4 * 255 * 255
    check(Fir(), types, plain, np.random.default_rng(0), constants=(1, 2))


@pytest.mark.parametrize(
    "shapes",
    [((4, 3), (4, 1), (3,)), ((4, 3), (4, 3), (1,)), ((4, 3), (3, 3), (3,)), ((4,), (4,), ())],
    ids=str,
)
def test_other_shapes_are_refused(shapes):
    with pytest.raises(UserError, match=r"operator fir: expected window \[K,C\], taps \[K,C\]"):
        Fir().infer([TensorType.full(i(8), s) for s in shapes])


def test_a_sum_past_63_bits_is_refused():
    wide = TensorType.full(i(40), (4, 3))
    with pytest.raises(UserError, match=r"operator fir: .* needs 82 bits, more than 63"):
        Fir().infer([wide, wide, TensorType.full(i(8), (3,))])


def test_work_is_counted_by_hand():
    types = [TensorType.full(i(16), (4, 3)), TensorType.full(i(8), (4, 3))]
    types.append(TensorType.full(i(32), (3,)))
    out = Fir().infer(types)
    assert Fir().work(types, out) == Work(
        macs={(16, 8): 12}, const_bits=12 * 8 + 3 * 32, in_bits=12 * 16, out_bits=3 * out.dtype.bits
    )
