"""Integer types name ranges; tensor types carry bounds; both refuse nonsense in a sentence."""

import numpy as np
import pytest

from cosim.ir.errors import InternalError, UserError
from cosim.ir.types import MAX_BITS, IntType, TensorType, i, smallest_type, u


@pytest.mark.parametrize(
    ("text", "lo", "hi"),
    [
        ("i1", -1, 0),
        ("u1", 0, 1),
        ("i4", -8, 7),
        ("u4", 0, 15),
        ("i8", -128, 127),
        ("i24", -8388608, 8388607),
        ("i63", -(2**62), 2**62 - 1),
        ("u63", 0, 2**63 - 1),
    ],
)
def test_ranges_are_those_of_twos_complement(text, lo, hi):
    dtype = IntType.parse(text)
    assert (dtype.lo, dtype.hi, str(dtype)) == (lo, hi, text)


@pytest.mark.parametrize("text", ["", "8", "int8", "i", "i0", "i08", "f32", "I8", "i8 ", "i100"])
def test_other_names_are_refused(text):
    with pytest.raises(UserError, match=r"expected i or u and a width, such as i8"):
        IntType.parse(text)


@pytest.mark.parametrize("bits", [0, -3, 64, 99])
def test_other_widths_are_refused(bits):
    with pytest.raises(UserError, match=f"integer type of {bits} bits: widths are 1 to 63 bits"):
        i(bits)


def test_the_smallest_type_holds_and_no_narrower_one_does():
    for lo in range(-70, 71):
        for hi in range(lo, 71):
            dtype = smallest_type(lo, hi)
            assert dtype.holds(lo, hi)
            assert dtype.signed == (lo < 0)
            if dtype.bits > 1:
                assert not IntType(dtype.bits - 1, dtype.signed).holds(lo, hi)


def test_holds_looks_at_both_ends():
    assert u(4).holds(0, 15)
    assert not u(4).holds(-1, 3)
    assert not u(4).holds(0, 16)
    assert not i(4).holds(-9, 0)


def test_a_tensor_prints_type_shape_and_bounds():
    t = TensorType(i(8), (3, 64), -5, 100)
    assert str(t) == "i8[3,64] in -5..100"
    assert (t.size, t.size_bits, t.peak) == (192, 1536, 100)
    assert str(TensorType.full(u(4), ())) == "u4[] in 0..15"
    assert TensorType.full(u(4), ()).size == 1


def test_data_carry_their_own_bounds():
    assert str(TensorType.of(np.array([[-3, 9]]), i(8))) == "i8[1,2] in -3..9"
    assert TensorType.of(np.array(7), i(8)).shape == ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.array([1, 128]), "data from 1 to 128 does not fit i8"),
        (np.array([-129, 0]), "data from -129 to 0 does not fit i8"),
        (np.array([0.5]), "data of float64 are not integers; round them first"),
        (np.array([True]), "data of bool are not integers"),
    ],
)
def test_data_that_do_not_fit_are_our_fault(data, said):
    with pytest.raises(InternalError, match=said):
        TensorType.of(data, i(8))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (-1,)])
def test_an_axis_without_elements_is_refused(shape):
    with pytest.raises(UserError, match=r"an axis without elements; every size must be at least 1"):
        TensorType.full(i(8), shape)


def test_empty_bounds_are_our_fault():
    with pytest.raises(InternalError, match=r"bounds 3\.\.2 are empty"):
        TensorType(i(8), (1,), 3, 2)


def test_the_widest_type_fits_the_carrier():
    """Executors carry everything in int64: no declared type may be wider than its values."""
    for dtype in (i(MAX_BITS), u(MAX_BITS)):
        assert int(np.int64(dtype.hi)) == dtype.hi
        assert int(np.int64(dtype.lo)) == dtype.lo
