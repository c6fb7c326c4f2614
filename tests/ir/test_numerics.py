"""Rounding, shifting and saturating equal Python's own integers, on every carrier."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from cosim.ir.numerics import (
    bit_length,
    namespace,
    round_bounds,
    saturate,
    shift_ceil,
    shift_floor,
    shift_left,
    shift_round,
    shift_signed,
)
from cosim.ir.types import IntType, i, u

CARRIERS = ["numpy int64", "numpy int32", "torch int64", "torch int32"]


def carry(values, carrier: str):
    """Put Python integers into the named array type."""
    library, dtype = carrier.split()
    array = np.array(values, dtype=dtype)
    return array if library == "numpy" else torch.from_numpy(array)


def half_up(x: int, s: int) -> int:
    """Round x / 2^s half up by exact fractions, not by shifts."""
    return math.floor(Fraction(x, 2**s) + Fraction(1, 2))


@pytest.mark.parametrize("carrier", CARRIERS)
def test_shift_round_equals_fractions_on_every_small_input(carrier):
    values = list(range(-300, 301))
    for s in range(10):
        want = [half_up(x, s) for x in values]
        assert shift_round(carry(values, carrier), s).tolist() == want
        shifts = carry([s] * len(values), carrier)
        assert shift_round(carry(values, carrier), shifts).tolist() == want


@pytest.mark.parametrize("carrier", CARRIERS)
def test_shift_signed_equals_fractions_on_every_small_input(carrier):
    values = list(range(-70, 71))
    for s in range(-6, 9):
        want = [half_up(x, s) if s >= 0 else x * 2**-s for x in values]
        assert shift_signed(carry(values, carrier), s).tolist() == want
        assert shift_signed(carry(values, carrier), carry([s], carrier)).tolist() == want


@pytest.mark.parametrize("carrier", CARRIERS)
def test_ties_go_toward_plus_infinity(carrier):
    """A hand-written table: twins that round alike can share a mistake, this cannot."""
    table = {
        1: [(-5, -2), (-3, -1), (-1, 0), (1, 1), (3, 2), (5, 3)],
        2: [(-10, -2), (-6, -1), (-2, 0), (2, 1), (6, 2), (10, 3)],
        3: [(-12, -1), (-4, 0), (4, 1), (12, 2)],
        8: [(-384, -1), (-128, 0), (-127, 0), (-129, -1), (127, 0), (128, 1), (384, 2)],
    }
    for s, rows in table.items():
        xs, want = [x for x, _ in rows], [y for _, y in rows]
        assert shift_round(carry(xs, carrier), s).tolist() == want
        assert shift_signed(carry(xs, carrier), carry([s] * len(xs), carrier)).tolist() == want


@pytest.mark.parametrize("carrier", CARRIERS)
def test_mixed_shifts_act_element_by_element(carrier):
    xs, ss = [100, 100, 100, -7, -7, -7], [3, 0, -3, 1, 0, -2]
    assert shift_signed(carry(xs, carrier), carry(ss, carrier)).tolist() == [
        13,
        100,
        800,
        -3,
        -7,
        -28,
    ]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_shift_of_nearly_the_whole_carrier(carrier):
    """1 << (width - 1) is negative in the carrier: the half must not be made from it."""
    width = 64 if carrier.endswith("64") else 32
    for s in (width - 3, width - 2, width - 1):
        top = (1 << (width - 1)) - 1 - (1 << (s - 1))
        xs = [-top, -1, 0, 1, top]
        want = [half_up(x, s) for x in xs]
        assert shift_round(carry(xs, carrier), carry([s], carrier)).tolist() == want
        assert shift_round(carry(xs, carrier), s).tolist() == want


def test_shift_round_at_the_end_of_int64():
    top = 2**63 - 1 - 2**31
    xs = [-top, top, -(2**62), 2**62]
    assert shift_round(np.array(xs), 32).tolist() == [half_up(x, 32) for x in xs]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_shift_floor_ceil_and_left_equal_python(carrier):
    values = list(range(-40, 41))
    for s in range(7):
        assert shift_floor(carry(values, carrier), s).tolist() == [x // 2**s for x in values]
        assert shift_ceil(carry(values, carrier), s).tolist() == [-(-x // 2**s) for x in values]
        assert shift_left(carry(values, carrier), s).tolist() == [x * 2**s for x in values]


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("dtype", [i(1), u(1), i(4), u(4), i(8), u(7)], ids=str)
def test_saturate_equals_min_and_max(carrier, dtype):
    values = list(range(-300, 301))
    want = [min(max(x, dtype.lo), dtype.hi) for x in values]
    assert saturate(carry(values, carrier), dtype).tolist() == want


@pytest.mark.parametrize("carrier", CARRIERS)
def test_bit_length_equals_python_on_every_small_input_and_around_powers(carrier):
    width = 63 if carrier.endswith("64") else 31
    values = list(range(2050))
    values += [2**k + d for k in range(11, width) for d in (-1, 0, 1)]
    values.append(2**width - 1)
    assert bit_length(carry(values, carrier)).tolist() == [x.bit_length() for x in values]


def test_bit_length_keeps_shape_and_carrier():
    got = bit_length(torch.zeros((2, 1, 3), dtype=torch.int32))
    assert (got.shape, got.dtype) == ((2, 1, 3), torch.int32)


def test_round_bounds_are_reached_and_never_passed():
    for s in range(-3, 6):
        for lo, hi in [(-9, 17), (-8, -3), (5, 5), (0, 31)]:
            got = [half_up(x, s) if s >= 0 else x * 2**-s for x in range(lo, hi + 1)]
            assert round_bounds(lo, hi, s) == (min(got), max(got))


def test_numpy_scalars_are_arrays_too():
    """The reference takes scalars out of sequences: they must round like arrays."""
    assert namespace(np.int64(3)) is np
    assert shift_signed(np.int64(5), np.int64(1)) == 3
    assert saturate(np.int64(9), IntType(4)) == 7
    assert bit_length(np.int64(9)) == 4
