import numpy as np
import pytest
import torch

from cosim.ir.numerics import saturate
from cosim.ir.types import i, u
from quant.lower.parts import decay_function, floored_softplus
from quant.tables import (
    Table,
    exp_negative,
    gelu,
    gelu_tanh,
    log_table,
    one_minus_exp,
    reciprocal,
    silu,
    softplus,
    uniform_table,
)

SHORT = np.arange(-(1 << 15), 1 << 15)
SILU_ENDS = ((0.0, 0.0), (1.0, 0.0))
SOFTPLUS_ENDS = ((0.0, 0.0), (1.0, 0.0))


def read(table: Table, x: np.ndarray, out_frac: int) -> np.ndarray:
    """Return the real values that the operator gives, saturated as executors do."""
    got = saturate(table.op.meaning(x, table.base, table.slope), table.op.dtype)
    return got / 2.0**out_frac


def representable(real: np.ndarray, table: Table, out_frac: int) -> np.ndarray:
    scaled = real * 2.0**out_frac
    return (scaled >= table.op.dtype.lo) & (scaled <= table.op.dtype.hi)


def silu_table(in_frac: int, out_frac: int) -> Table:
    return uniform_table(silu, in_frac, out_frac, i(16), 12.0, 5, SILU_ENDS)


def gelu_table(in_frac: int, out_frac: int) -> Table:
    return uniform_table(gelu, in_frac, out_frac, i(16), 8.0, 5, SILU_ENDS)


def gelu_tanh_table(in_frac: int, out_frac: int) -> Table:
    return uniform_table(gelu_tanh, in_frac, out_frac, i(16), 8.0, 5, SILU_ENDS)


def softplus_table(in_frac: int, out_frac: int) -> Table:
    return uniform_table(softplus, in_frac, out_frac, u(24), 16.0, 5, SOFTPLUS_ENDS)


FUNCTIONS = {
    silu_table: silu, softplus_table: softplus, gelu_table: gelu, gelu_tanh_table: gelu_tanh,
}  # fmt: skip


@pytest.mark.parametrize("in_frac", [-5, -1, 0, 3, 5, 6, 9, 11, 12, 14, 18])
@pytest.mark.parametrize("out_frac", [-2, 4, 8, 11, 15])
@pytest.mark.parametrize("make", FUNCTIONS)
def test_the_stated_error_bounds_every_16_bit_input(make, in_frac, out_frac):
    table = make(in_frac, out_frac)
    function = FUNCTIONS[make]
    with np.errstate(over="ignore"):
        real = function(SHORT / 2.0**in_frac)
    inside = representable(real, table, out_frac)
    error = np.abs(read(table, SHORT, out_frac) - real)[inside]
    assert error.max() <= table.max_error
    # 1e-4 is what 32 segments per unit promise; the rest is the output's own half step.
    assert table.max_error <= 1e-4 + 0.57 * 2.0**-out_frac


def test_gelu_is_that_of_torch_in_both_forms():
    x = np.linspace(-9, 9, 3001)
    for ours, form in ((gelu, "none"), (gelu_tanh, "tanh")):
        theirs = torch.nn.functional.gelu(torch.from_numpy(x), approximate=form).numpy()
        assert np.abs(ours(x) - theirs).max() < 1e-14
    assert 1e-4 < np.abs(gelu(x) - gelu_tanh(x)).max() < 1e-3


@pytest.mark.parametrize("in_frac", [8, 11, 13])
def test_silu_has_its_known_values(in_frac):
    table = silu_table(in_frac, 11)
    known = {-12.0: -7.3732e-05, -4.0: -0.0719448, -1.0: -0.268941, 0.0: 0.0, 0.5: 0.311230,
             1.0: 0.731059, 2.0: 1.761594, 3.5: 3.397412, 12.0: 11.999926}  # fmt: skip
    for x, y in known.items():
        got = read(table, np.array([round(x * 2**in_frac)]), 11)[0]
        assert got == pytest.approx(y, abs=1e-4 + 2.0**-12)


@pytest.mark.parametrize("in_frac", [0, 7, 11])
def test_silu_continues_as_its_lines_beyond_the_table(in_frac):
    table = silu_table(in_frac, 2)
    far = np.array([13, 14, 100, 4095]) << in_frac
    assert read(table, far, 2).tolist() == [13, 14, 100, 4095]
    assert read(table, -far, 2).tolist() == [0, 0, 0, 0]


def test_softplus_has_its_known_values_and_ends():
    table = softplus_table(11, 16)
    known = {-20.0: 0.0, -16.0: 0.0, -5.0: 0.00671535, -1.0: 0.313262, 0.0: 0.693147,
             1.0: 1.313262, 5.0: 5.00671535, 15.99: 15.99, 16.0: 16.0, 20.0: 20.0}  # fmt: skip
    for x, y in known.items():
        got = read(table, np.array([round(x * 2**11)]), 16)[0]
        assert got == pytest.approx(y, abs=2.5e-4)  # half an input step is 2.4e-4


def test_small_steps_keep_their_digits():
    """Trained dt start near 0.001: there the relative error counts."""
    table = softplus_table(12, 22)
    x = np.arange(-8 * 4096, -2 * 4096)
    real = softplus(x / 4096)
    assert (np.abs(read(table, x, 22) / real - 1) < 1e-3).all()


@pytest.mark.parametrize("floor", [0.0, 1e-4, 0.01])
def test_a_floor_is_added_everywhere(floor):
    table = uniform_table(
        floored_softplus(floor), 11, 20, u(24), 16.0, 5, ((0.0, floor), (1.0, floor))
    )
    real = softplus(SHORT / 2048) + floor
    inside = representable(real, table, 20)
    assert np.abs(read(table, SHORT, 20) - real)[inside].max() <= table.max_error < 2e-5
    assert read(table, np.array([-32768]), 20)[0] == pytest.approx(floor, abs=2**-21)


@pytest.mark.parametrize("in_frac", [3, 8, 11, 14])
@pytest.mark.parametrize("out_frac", [8, 12, 18])
def test_softplus_never_falls_by_more_than_one_step(in_frac, out_frac):
    got = read(softplus_table(in_frac, out_frac), SHORT, out_frac)
    assert np.diff(got).min() >= -(2.0**-out_frac)
    assert np.maximum.accumulate(got).max() == got[-1]


def test_silu_rises_beside_zero_and_has_one_minimum():
    got = read(silu_table(11, 14), np.arange(-12 * 2048, 3 * 2048), 14)
    low = int(got.argmin())
    assert np.arange(-12 * 2048, 3 * 2048)[low] / 2048 == pytest.approx(-1.2785, abs=0.05)
    assert np.diff(got[low:]).min() >= -(2.0**-14)
    assert np.diff(got[:low]).max() <= 2.0**-14


@pytest.fixture(scope="module")
def decay():
    """Return the table of 1 - e^-v as graphs use it: 24-bit input, 20 fraction bits."""
    return log_table(decay_function(20), 20, 20, u(20), u(24).hi, 5)


def test_the_stated_error_of_the_decay_bounds_a_dense_sample(decay):
    rng = np.random.default_rng(0)
    v = np.concatenate([np.arange(1 << 18), rng.integers(0, 1 << 24, 1 << 19), [u(24).hi]])
    error = np.abs(read(decay, v, 20) - np.minimum(one_minus_exp(v / 2.0**20), 1 - 2.0**-20))
    assert error.max() <= decay.max_error < 4e-5


def test_small_decays_keep_their_digits(decay):
    """A head that forgets over a thousand tokens has 1 - decay near 0.001."""
    v = np.arange(1, 1 << 20)
    real = one_minus_exp(v / 2.0**20)
    got = read(decay, v, 20)
    assert (np.abs(got - real) <= 2e-4 * real + 0.52 * 2.0**-20).all()
    assert read(decay, np.array([0]), 20)[0] == 0.0
    assert read(decay, np.array([u(24).hi]), 20)[0] >= 1 - 2.0**-19


def test_the_decay_never_falls_by_more_than_its_rounding(decay):
    assert np.diff(read(decay, np.arange(1 << 18), 20)).min() >= -(2.0**-20)
    late = np.arange(1 << 18, 1 << 24, 61)  # where e^-v is small, by no more than the error
    assert np.diff(read(decay, late, 20)).min() >= -2 * decay.max_error


def test_one_minus_exp_does_not_cancel():
    assert one_minus_exp(np.array([1e-12]))[0] == pytest.approx(1e-12, rel=1e-9)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_the_decay_fits_its_type_at_every_width(bits):
    table = log_table(decay_function(bits), 20, bits, u(bits), u(24).hi, 5)
    v = np.unique(np.geomspace(1, u(24).hi, 5000).astype(int))
    raw = table.op.meaning(v, table.base, table.slope)
    assert raw.max() <= u(bits).hi
    error = np.abs(raw / 2.0**bits - np.minimum(one_minus_exp(v / 2.0**20), 1 - 2.0**-bits))
    assert error.max() <= table.max_error <= 5e-5 + 1.52 * 2.0**-bits


def test_equal_requests_give_the_same_table():
    assert silu_table(11, 11) is silu_table(11, 11)
    assert floored_softplus(0.5) is floored_softplus(0.5)
    assert decay_function(20) is decay_function(20)


@pytest.mark.parametrize(("mantissa_bits", "most"), [(3, 2.5e-3), (5, 1.6e-4), (7, 1.2e-5)])
def test_the_stated_error_of_exp_bounds_every_input(mantissa_bits, most):
    """An octave of v in 2^b chords: e^-v is off by v^2 e^-v / 2^(2b + 4), at most at v = 2."""
    table = log_table(exp_negative, 12, 20, u(21), u(16).hi, mantissa_bits)
    v = np.arange(1 << 16)
    error = np.abs(read(table, v, 20) - np.exp(-v / 2.0**12))
    assert error.max() <= table.max_error <= most
    assert read(table, np.array([0]), 20)[0] == 1.0


@pytest.mark.parametrize("mantissa_bits", [3, 5, 7])
def test_the_stated_error_of_the_reciprocal_bounds_every_input_that_fits(mantissa_bits):
    """Of 2^b chords an octave each is within 2^-(2b + 3) of 1 / x, as a share of it."""
    table = log_table(reciprocal, 8, 15, u(24), u(16).hi, mantissa_bits)
    x = np.arange(1, 1 << 16)
    real = 256.0 / x
    error = np.abs(read(table, x, 15) - real)
    assert error.max() <= table.max_error
    share = (1 + 2.0**-mantissa_bits) * 2.0 ** -(2 * mantissa_bits + 3)
    # Rounded slopes, of 12 guard bits, add up over the longest segment, 2^(15 - b) inputs.
    rounding = (0.6 + 2.0 ** (15 - mantissa_bits - 13)) * 2.0**-15
    assert (error <= real * share + rounding).all()
    assert read(table, np.array([0]), 15)[0] == u(24).hi / 2**15  # saturated, never wrapped
