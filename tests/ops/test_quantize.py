"""`quantize`: divide by a group's scale with one rounding."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Quantize
from cosim.ops.quantize import reciprocals
from tests.ops.check import check, draw_type, half_up
from tests.ops.test_dequantize import scale


def plain_of(group, mantissa_bits):
    """Multiply by the rounded reciprocal of the mantissa, then divide by the power of two."""

    def quotient(x, code):
        e, f = divmod(code, 2**mantissa_bits)
        r = round(Fraction(2 ** (15 + mantissa_bits), 2**mantissa_bits + f))
        return half_up(x * r, 15 + mantissa_bits + e)

    def plain(x, c):
        return [
            [quotient(v, codes[k // group]) for k, v in enumerate(row)]
            for row, codes in zip(x, c, strict=True)
        ]

    return plain


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 3), st.integers(1, 7))
def test_equals_the_glossary_in_python_integers(seed, size, mantissa_bits, group):
    rng = np.random.default_rng(seed)
    for most_bits, top in ((14, 44), (14, 9), (40, 44)):
        lo, hi = sorted(rng.integers(0, top, 2, endpoint=True).tolist())
        codes = TensorType(u(6), (2, -(-size // group)), lo, hi)
        types = [draw_type(rng, (2, size), most_bits), codes]
        check(Quantize(group, i(8), mantissa_bits), types, plain_of(group, mantissa_bits), rng)


def test_powers_of_two_divide_exactly():
    x = np.arange(-5000, 5001)
    for e in range(12):
        want = [half_up(v, e) for v in x.tolist()]
        assert Quantize(10001, i(8)).meaning(x, np.array([e])).tolist() == want


@pytest.mark.parametrize("mantissa_bits", [1, 2, 3])
def test_other_scales_divide_within_the_reciprocal(mantissa_bits):
    """The reciprocal is off by 2^-15 of itself at most; the rest is half an LSB of rounding."""
    x = np.arange(-(1 << 15), 1 << 15, 7)
    for code in range(4 << mantissa_bits):
        got = Quantize(len(x), i(8), mantissa_bits).meaning(x, np.array([code]))
        exact = x / scale(code, mantissa_bits)
        assert (np.abs(got - exact) <= 0.5 + np.abs(exact) * 2.0**-15).all()


def test_reciprocals_are_the_nearest_integers():
    for m in range(4):
        exact = [Fraction(2 ** (15 + m), d) for d in range(2**m, 2 ** (m + 1))]
        assert all(abs(r - e) <= Fraction(1, 2) for r, e in zip(reciprocals(m), exact, strict=True))


def test_bounds_are_reached():
    """The smallest code divides least; a mantissa's rounded reciprocal may pass the quotient."""
    types = [TensorType.full(i(31), (1,)), TensorType(u(4), (1,), 5, 11)]
    op = Quantize(1, i(8), 3)
    raw = op.infer(types)
    ends = [int(op.meaning(np.array([x]), np.array([5]))[0]) for x in (types[0].lo, types[0].hi)]
    assert [raw.lo, raw.hi] == ends
    assert raw.hi > types[0].hi // scale(5, 3)


@pytest.mark.parametrize(
    ("op", "codes", "said"),
    [
        (Quantize(4, i(8)), TensorType.full(u(2), (3,)), r"expected codes \[2\] >= 0 for"),
        (Quantize(4, i(8)), TensorType.full(i(4), (2,)), r"expected codes \[2\] >= 0 for"),
        (Quantize(0, i(8)), TensorType.full(u(2), (2,)), "group 0 and mantissa_bits 0"),
        (Quantize(4, i(8), 4), TensorType.full(u(2), (2,)), "group 4 and mantissa_bits 4"),
    ],
    ids=["groups", "negative codes", "group", "mantissa"],
)
def test_codes_that_do_not_fit_are_refused(op, codes, said):
    with pytest.raises(UserError, match=f"operator quantize: .*{said}"):
        op.infer([TensorType.full(i(8), (5,)), codes])


def test_work_is_counted_by_hand():
    types = [TensorType.full(i(16), (2, 5)), TensorType(u(4), (2, 2), 0, 7)]
    out = TensorType.full(i(4), (2, 5))
    want = Work(shifts={16: 10}, adds={16: 10}, compares={16: 10}, in_bits=160 + 16, out_bits=40)
    assert Quantize(4, i(4)).work(types, out) == want
    assert Quantize(4, i(4), 1).work(types, out).muls == {(16, 16): 10}
