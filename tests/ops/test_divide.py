"""`divide`: numerators by the sum behind them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Divide
from cosim.ops.divide import BASE, FALL
from tests.ops.check import check, half_up


def plain_of(op):
    """Follow the glossary in Python integers; only the 128-entry table is shared."""

    def row(x):
        *numerators, total = x
        total = max(total, 1)
        n = total.bit_length()
        s = max(n - 24, 0)
        m = total * 2 ** (16 - n) if n < 16 else total // 2 ** (n - 16)
        k, offset = divmod(m, 256)
        r = (BASE[k - 128] - FALL[k - 128] * offset // 256 + 8) // 16
        most = op.most * 2**24
        cut = [min(max(half_up(a, s), -most), most) for a in numerators]
        return [half_up(a * r, 15 + n - s - op.frac_bits) for a in cut]

    def plain(x):
        return row(x) if not isinstance(x[0], list) else [row(r) for r in x]

    return plain


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(2, 9), st.integers(0, 16), st.integers(2, 44))
def test_equals_the_glossary_in_python_integers(seed, size, frac_bits, bits):
    rng = np.random.default_rng(seed)
    op = Divide(frac_bits, int(rng.integers(1, 200)), i(16))
    check(op, [TensorType.full(i(bits), (size,))], plain_of(op), rng)
    check(op, [TensorType(i(bits), (3, size), 0, i(bits).hi)], plain_of(op), rng)


@pytest.mark.parametrize("bits", [1, 5, 15, 16, 17, 24, 25, 40])
@pytest.mark.parametrize("frac", [0, 8, 16])
def test_is_within_2_to_the_minus_14_of_the_quotient(bits, frac):
    """Exact quotients of means of values of 8 bits; half an LSB more for the last rounding."""
    rng = np.random.default_rng(bits + frac)
    total = rng.integers(1 << (bits - 1), 1 << bits, (400, 1))
    share = rng.uniform(-128, 128, (400, 5))
    share[:40] = np.sign(share[:40]) * 128
    x = np.concatenate([np.rint(total * share).astype(np.int64), total], axis=1)
    got = Divide(frac, 128, i(40)).meaning(x)
    for row, found in zip(x.tolist(), got.tolist(), strict=True):
        for a, y in zip(row[:-1], found, strict=True):
            exact = Fraction(a * 2**frac, row[-1])
            assert abs(y - exact) <= abs(exact) / 2**14 + Fraction(1, 2) + Fraction(2**frac, 2**24)


def test_sums_that_are_not_positive_count_as_one():
    x = np.array([[7, -3, 0], [7, -3, -5], [7, -3, 1]])
    assert Divide(4, 100, i(16)).meaning(x).tolist() == [[112, -48]] * 3


def test_numerators_past_most_are_held():
    """At `most` times the 2^24 above the kept sum, 2^23 here."""
    x = np.array([[1 << 40, -(1 << 40), 1 << 30]])
    assert Divide(0, 3, i(16)).meaning(x).tolist() == [[6, -6]]


@pytest.mark.parametrize(
    ("op", "shape", "said"),
    [
        (Divide(17, 1, i(8)), (3,), r"frac_bits 0\.\.16"),
        (Divide(-1, 1, i(8)), (3,), r"frac_bits 0\.\.16"),
        (Divide(0, 1, i(8)), (1,), "rows of at least 2"),
        (Divide(0, 1, i(8)), (), "rows of at least 2"),
        (Divide(0, 0, i(8)), (3,), "most is 0"),
    ],
    ids=str,
)
def test_illegal_uses_are_refused(op, shape, said):
    with pytest.raises(UserError, match=f"operator divide: .*{said}"):
        op.infer([TensorType.full(i(8), shape)])


def test_work_is_counted_by_hand():
    """Numerators of 20 bits, cut to 7 * 2^24 at most: 20 bits again."""
    x = TensorType.full(i(20), (2, 6))
    assert Divide(8, 7, i(16)).work([x], TensorType.full(i(16), (2, 5))) == Work(
        muls={(21, 17): 10, (17, 8): 2},
        shifts={20: 12, 37: 10},
        adds={37: 10},
        compares={21: 10},
        lookups={21: 4},
        in_bits=240,
        out_bits=160,
    )
