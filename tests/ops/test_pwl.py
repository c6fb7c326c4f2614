"""`pwl`: straight segments between table entries."""

import itertools
from fractions import Fraction
from math import exp, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Pwl
from tests.ops.check import check, draw_type


def plain_of(op):
    """Walk the segments from the left; the exact rational is rounded half up once."""

    def value(x, base, slope):
        segment = 0
        while segment < len(base) - 1 and x >= op.start + (segment + 1) * 2**op.log2_width:
            segment += 1
        rise = slope[segment] * (x - op.start - segment * 2**op.log2_width)
        return floor(Fraction(base[segment] + rise, 2**op.guard) + Fraction(1, 2))

    return lambda x, base, slope: [[value(v, base, slope) for v in row] for row in x]


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 6), st.integers(0, 8))
def test_equals_a_walk_over_the_segments(seed, segments, log2_width, guard):
    rng = np.random.default_rng(seed)
    op = Pwl(int(rng.integers(-200, 200)), log2_width, guard, i(16))
    for x_bits, table_bits in ((10, 9), (16, 20), (34, 20)):
        types = [draw_type(rng, (2, 3), x_bits)]
        types += [draw_type(rng, (segments,), table_bits) for _ in range(2)]
        check(op, types, plain_of(op), rng)


def test_a_flat_table_still_needs_a_carrier_for_its_input():
    """With all slopes zero the result is small, but x - start is not."""
    types = [
        TensorType.full(i(40), (2, 3)),
        TensorType.full(i(4), (4,)),
        TensorType(i(2), (4,), 0, 0),
    ]
    op = Pwl(0, 36, 0, i(8))
    assert op.peak(types) >= 1 << 39
    check(op, types, plain_of(op), np.random.default_rng(0))


def test_end_segments_go_on_as_straight_lines():
    op, base, slope = Pwl(0, 2, 0, i(16)), np.array([0, 40]), np.array([10, 1])
    x = np.array([-3, 0, 3, 4, 5, 100])
    assert op.meaning(x, base, slope).tolist() == [-30, 0, 30, 40, 41, 136]


def test_a_sigmoid_is_within_its_sag():
    """Chords of width w sag by at most max|f''| w^2 / 8 = 0.0963 w^2 / 8 for the sigmoid."""
    frac, log2_width, guard, out = 12, 9, 15, 14
    knots = np.arange(-8 << frac, (8 << frac) + 1, 1 << log2_width)
    exact = [1 / (1 + exp(-k / 2**frac)) * 2 ** (out + guard) for k in knots.tolist()]
    base = np.array([round(v) for v in exact[:-1]])
    slope = np.array([round((b - a) / 2**log2_width) for a, b in itertools.pairwise(exact)])
    op = Pwl(-8 << frac, log2_width, guard, i(16))
    x = np.arange(-8 << frac, 8 << frac, 3)
    got = op.meaning(x, base, slope) / 2.0**out
    sag = 0.0963 * (2.0 ** (log2_width - frac)) ** 2 / 8
    rounding = 0.5 * 2.0**-out + 2.0 ** (log2_width - out - guard)
    worst = np.abs(got - 1 / (1 + np.exp(-x / 2.0**frac))).max()
    assert sag / 2 < worst <= sag + rounding


@pytest.mark.parametrize(
    ("op", "base", "slope", "said"),
    [
        (Pwl(0, 2, 3, i(8)), (4,), (5,), r"expected base \[S\] and slope \[S\]"),
        (Pwl(0, 2, 3, i(8)), (4, 1), (4, 1), r"expected base \[S\] and slope \[S\]"),
        (Pwl(0, -1, 3, i(8)), (4,), (4,), "log2_width -1 and guard 3 must not be negative"),
        (Pwl(0, 2, -3, i(8)), (4,), (4,), "log2_width 2 and guard -3 must not be negative"),
    ],
)
def test_other_tables_are_refused(op, base, slope, said):
    types = [TensorType.full(i(8), s) for s in ((3,), base, slope)]
    with pytest.raises(UserError, match=f"operator pwl: {said}"):
        op.infer(types)


def test_work_is_counted_by_hand():
    types = [TensorType.full(i(16), (2, 3)), TensorType.full(i(20), (9,))]
    types.append(TensorType.full(i(10), (9,)))
    assert Pwl(0, 2, 3, i(8)).work(types, TensorType.full(i(8), (2, 3))) == Work(
        lookups={30: 6},
        muls={(16, 10): 6},
        adds={20: 12},
        shifts={20: 6},
        compares={20: 6},
        const_bits=9 * 30,
        in_bits=96,
        out_bits=48,
    )
