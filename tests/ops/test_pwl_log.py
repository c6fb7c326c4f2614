"""`pwl_log`: segments that double in width with each octave."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import PwlLog
from cosim.ops.pwl_log import segment_count, segment_start
from tests.ops.check import check, draw_type


def starts(hi, mantissa_bits):
    """List the first x of every segment up to hi: 2^M in each octave, never narrower than 1."""
    found, x = [], 0
    while x <= hi:
        found.append(x)
        x += max(1, 2 ** (x.bit_length() - 1 - mantissa_bits)) if x else 1
    return found


def plain_of(op):
    def value(x, base, slope):
        edges = starts(x, op.mantissa_bits)
        segment = len(edges) - 1
        rise = slope[segment] * (x - edges[segment])
        return floor(Fraction(base[segment] + rise, 2**op.guard) + Fraction(1, 2))

    return lambda x, base, slope: [[value(v, base, slope) for v in row] for row in x]


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.integers(0, 6), st.integers(0, 8))
def test_equals_a_walk_over_the_segments(seed, mantissa_bits, guard):
    rng = np.random.default_rng(seed)
    op = PwlLog(mantissa_bits, guard, i(16))
    for x_bits, table_bits in ((7, 9), (14, 16), (33, 20)):
        x = draw_type(rng, (2, 3), x_bits, signed=False)
        size = segment_count(x.hi, mantissa_bits) + int(rng.integers(2))
        types = [x, *(draw_type(rng, (size,), table_bits) for _ in range(2))]
        check(op, types, plain_of(op), rng)


@pytest.mark.parametrize("mantissa_bits", range(6))
def test_segments_are_numbered_without_holes(mantissa_bits):
    edges = starts(5000, mantissa_bits)
    for index, edge in enumerate(edges):
        start, log2_width = segment_start(index, mantissa_bits)
        assert start == edge
        if index + 1 < len(edges):
            assert edge + 2**log2_width == edges[index + 1]
    for hi in range(5000):
        assert segment_count(hi, mantissa_bits) == len([e for e in edges if e <= hi])


@pytest.mark.parametrize("mantissa_bits", [0, 2, 5])
def test_each_input_reads_its_own_segment(mantissa_bits):
    """With slope 0 the table shows which entry every x of a small type reads."""
    edges = starts(4095, mantissa_bits)
    base = np.arange(len(edges))
    x = np.arange(4096)
    got = PwlLog(mantissa_bits, 0, i(16)).meaning(x, base, 0 * base)
    assert got.tolist() == (np.searchsorted(edges, x, side="right") - 1).tolist()


def test_relative_accuracy_of_the_decay_complement():
    """1 - exp(-v): a chord over [x, x (1 + 2^-M)] is off by x 2^-2M / 8 relative at most."""
    frac, m, guard, out = 20, 5, 10, 16
    edges = [*starts((1 << 24) - 1, m), 1 << 24]
    exact = [-np.expm1(-e / 2**frac) * 2 ** (out + guard) for e in edges]
    base = np.array([round(v) for v in exact[:-1]])
    rises = [
        (b - a) / (f - e) for a, b, e, f in zip(exact, exact[1:], edges, edges[1:], strict=False)
    ]
    slope_guard = 12
    op = PwlLog(m, guard + slope_guard, u(17))
    slope = np.array([round(r * 2**slope_guard) for r in rises])
    x = np.unique(np.geomspace(1, (1 << 24) - 1, 30000).astype(np.int64))
    got = op.meaning(x, base << slope_guard, slope) / 2.0**out
    want = -np.expm1(-x / 2.0**frac)
    assert (np.abs(got - want) <= 0.5 * 2.0**-out + want * 2.0**-12).all()


@pytest.mark.parametrize(
    ("op", "x", "size", "said"),
    [
        (PwlLog(2, 3, i(8)), TensorType.full(i(8), (3,)), 99, "must not be negative, got i8"),
        (PwlLog(2, 3, i(8)), TensorType(u(8), (3,), 0, 15), 11, "inputs up to 15 need 12 segments"),
        (PwlLog(-2, 3, i(8)), TensorType.full(u(8), (3,)), 99, "mantissa_bits -2 and guard 3 must"),
        (PwlLog(2, -3, i(8)), TensorType.full(u(8), (3,)), 99, "mantissa_bits 2 and guard -3 must"),
    ],
)
def test_other_tables_are_refused(op, x, size, said):
    table = TensorType.full(i(8), (size,))
    with pytest.raises(UserError, match=f"operator pwl_log: .*{said}"):
        op.infer([x, table, table])


def test_unequal_tables_are_refused():
    types = [TensorType(u(4), (3,), 0, 15), *(TensorType.full(i(8), (n,)) for n in (12, 13))]
    with pytest.raises(UserError, match=r"need 12 segments, got base"):
        PwlLog(2, 3, i(8)).infer(types)


def test_work_is_counted_by_hand():
    types = [TensorType.full(u(16), (2, 3)), TensorType.full(i(20), (90,))]
    types.append(TensorType.full(i(10), (90,)))
    assert PwlLog(2, 3, i(8)).work(types, TensorType.full(i(8), (2, 3))) == Work(
        lookups={30: 6},
        muls={(16, 10): 6},
        adds={20: 6},
        shifts={16: 12},
        compares={16: 12},
        const_bits=90 * 30,
        in_bits=96,
        out_bits=48,
    )
