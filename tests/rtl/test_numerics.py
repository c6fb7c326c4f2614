"""The arithmetic of wires equals its twin: on every small input, by a table, and by proof."""

from itertools import pairwise

import numpy as np
import pyrtl
import pytest

from cosim.ir import numerics as twin
from cosim.ir.errors import InternalError
from cosim.ir.types import IntType, TensorType, i, smallest_type, u
from rtl import numerics as wires
from rtl.netlist import building
from tests.rtl.wiring import compare, prove_equal

# Ranges that meet every branch: both signs, one sign, one value, ends that are no powers of two.
RANGES = [(-16, 15), (0, 31), (-9, 3), (5, 21), (-7, -2), (0, 0), (-1, -1), (-1, 0), (1, 1)]
SHIFTS = [(0, 0), (1, 1), (3, 3), (9, 9), (0, 7), (2, 5), (0, 1)]


def between(lo: int, hi: int, bits: int = 0) -> TensorType:
    """Make the type of one value, declared a little wider than its bounds."""
    narrow = smallest_type(lo, hi)
    return TensorType(IntType(max(bits, narrow.bits + 1), narrow.signed), (), lo, hi)


BINARY = {
    "add": (wires.add, np.add),
    "sub": (wires.sub, np.subtract),
    "mul": (wires.mul, np.multiply),
    "less": (wires.less, np.less),
    "equal": (wires.equal, np.equal),
    "maximum": (wires.maximum, np.maximum),
    "select": (
        lambda a, b: wires.select(wires.negative(a), a, b),
        lambda a, b: np.where(a < 0, a, b),
    ),
}


@pytest.mark.parametrize("name", BINARY)
def test_two_operands_give_numpys_integers_on_every_small_input(name):
    for a in RANGES:
        for b in RANGES:
            compare(*BINARY[name], [between(*a), between(*b)])


@pytest.mark.parametrize("bounds", RANGES)
def test_one_operand_gives_numpys_integers_on_every_small_input(bounds):
    types = [between(*bounds)]
    compare(wires.neg, np.negative, types)
    compare(wires.absolute, np.abs, types)
    compare(wires.negative, lambda x: x < 0, types)
    for lo, hi in [(-3, 2), (0, 5), (-40, 40), (4, 4), (-40, -20)]:
        compare(
            lambda x, a=lo, b=hi: wires.clip(x, a, b), lambda x, a=lo, b=hi: x.clip(a, b), types
        )


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("name", ["shift_left", "shift_floor", "shift_ceil", "shift_round"])
def test_shifts_equal_their_twins_on_every_small_input(name, bounds):
    make, plain = getattr(wires, name), getattr(twin, name)
    for s in SHIFTS:
        compare(make, plain, [between(*bounds), between(*s)])
        if s[0] == s[1]:
            compare(lambda x, s=s[0]: make(x, s), lambda x, s=s[0]: plain(x, s), [between(*bounds)])


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("shift", [*SHIFTS, (-3, 4), (-5, -2), (-2, 0), (-1, -1)])
def test_shift_signed_equals_its_twin_on_every_small_input(bounds, shift):
    compare(wires.shift_signed, twin.shift_signed, [between(*bounds), between(*shift)])
    compare(
        lambda x: wires.shift_signed(x, shift[0]),
        lambda x: twin.shift_signed(x, shift[0]),
        [between(*bounds)],
    )


@pytest.mark.parametrize("bounds", [*RANGES, (-70, 70), (0, 300), (-300, -250)])
@pytest.mark.parametrize("dtype", [i(1), u(1), i(4), u(4), i(8), u(7)], ids=str)
def test_saturate_equals_its_twin_on_every_small_input(bounds, dtype):
    compare(
        lambda x: wires.saturate(x, dtype), lambda x: twin.saturate(x, dtype), [between(*bounds)]
    )


@pytest.mark.parametrize("top", [0, 1, 2, 3, 7, 8, 100, 511, 600])
def test_bit_length_equals_its_twin_on_every_small_input(top):
    compare(wires.bit_length, twin.bit_length, [between(0, top)])
    compare(wires.bit_length, twin.bit_length, [between(top // 2, top)])


@pytest.mark.parametrize("bounds", [(-5, 6), (0, 7), (-8, -2), (3, 9)])
def test_a_complement_and_a_carry_give_the_difference_on_every_small_input(bounds):
    flag = between(0, 1)
    compare(
        lambda x, s: wires.complement(x, s.wire), lambda x, s: np.where(s, -x - 1, x),
        [between(*bounds), flag],
    )  # fmt: skip
    for other in (between(-4, 3), between(0, 5)):
        compare(
            lambda a, b, c: wires.add_carry(a, b, c.wire), lambda a, b, c: a + b + c,
            [between(*bounds), other, flag],
        )  # fmt: skip
        compare(
            lambda a, b, s: wires.add_carry(a, wires.complement(b, s.wire), s.wire),
            lambda a, b, s: np.where(s, a - b, a + b),
            [between(*bounds), other, flag],
        )


def test_ties_go_toward_plus_infinity():
    """Written by hand: twins that round alike could share a mistake."""
    table = {
        1: [(-5, -2), (-3, -1), (-1, 0), (1, 1), (3, 2), (5, 3)],
        2: [(-10, -2), (-6, -1), (-2, 0), (2, 1), (6, 2), (10, 3)],
        3: [(-12, -1), (-4, 0), (4, 1), (12, 2)],
        8: [(-384, -1), (-128, 0), (-127, 0), (-129, -1), (127, 0), (128, 1), (384, 2)],
    }
    for s, rows in table.items():
        xs = [(x, s) for x, _ in rows]
        want = [y for _, y in rows]
        for make in (wires.shift_round, wires.shift_signed):
            compare(make, lambda *_, w=want: w, [between(-400, 400), between(0, 8)], xs)
            fixed = [(x,) for x, _ in rows]
            compare(
                lambda x, m=make, s=s: m(x, s), lambda *_, w=want: w, [between(-400, 400)], fixed
            )


WIDTHS = (8, 16, 24, 32, 48)


@pytest.mark.parametrize("bits", WIDTHS)
def test_rounding_shifts_are_proved_at_the_widths_used(bits):
    x = TensorType.full(i(bits), ())
    for s in (1, bits // 2, bits - 1):
        for name in ("shift_round", "shift_signed", "shift_floor", "shift_ceil"):
            make, plain = getattr(wires, name), getattr(twin, name)
            proof = prove_equal(
                lambda x, m=make, s=s: m(x, s), lambda x, m=plain, s=s: m(x, s), [x], bits + 2
            )
            assert proof, (name, s, proof)
    s = TensorType(u(6), (), 0, bits - 1)
    for name in ("shift_round", "shift_floor"):
        assert prove_equal(getattr(wires, name), getattr(twin, name), [x, s], bits + 2), name
    s = TensorType(i(6), (), -4, min(bits, 31))
    assert prove_equal(wires.shift_signed, twin.shift_signed, [x, s], bits + 40)


@pytest.mark.parametrize(("wide", "narrow"), list(pairwise(WIDTHS[::-1])))
def test_saturation_is_proved_at_the_widths_used(wide, narrow):
    x = TensorType.full(i(wide), ())
    for dtype in (i(narrow), u(narrow), i(4), u(4)):
        proof = prove_equal(
            lambda x, d=dtype: wires.saturate(x, d), lambda x, d=dtype: twin.saturate(x, d), [x], 64
        )
        assert proof, (dtype, proof)


@pytest.mark.parametrize("bits", WIDTHS)
def test_sums_signs_and_counts_are_proved_at_the_widths_used(bits):
    x, y = TensorType.full(i(bits), ()), TensorType.full(u(bits - 1), ())
    for make, plain in (
        (wires.add, lambda a, b: a + b), (wires.sub, lambda a, b: a - b),
        (wires.less, lambda a, b: a < b), (wires.equal, lambda a, b: a == b),
    ):  # fmt: skip
        assert prove_equal(make, plain, [x, y], 64)
    assert prove_equal(wires.bit_length, twin.bit_length, [y], 64)


@pytest.mark.parametrize(
    ("a", "b"), [(4, 4), (8, 4), (8, 8), (16, 8), (16, 16), (24, 16), (32, 16)]
)
def test_products_are_proved_at_the_widths_used(a, b):
    types = [TensorType.full(i(a), ()), TensorType.full(i(b), ())]
    assert prove_equal(wires.mul, lambda a, b: a * b, types, a + b)


def test_a_proof_can_fail_and_says_where():
    """Floor is not rounding: the counterexample must round differently."""
    x = TensorType.full(i(16), ())
    proof = prove_equal(
        lambda x: wires.shift_floor(x, 3), lambda x: twin.shift_round(x, 3), [x], 20
    )
    assert proof.verdict == "refuted"
    value = proof.counterexample["i0"]
    assert value >> 3 != (value + 4) >> 3


def test_values_of_different_stages_never_meet():
    with building():
        x = wires.of_bits(pyrtl.Const(3, 4), TensorType.full(i(4), ()), at=0)
        y = wires.of_bits(pyrtl.Const(3, 4), TensorType.full(i(4), ()), at=2)
        assert wires.add(x, wires.constant(1)).at == 0
        with pytest.raises(InternalError, match=r"pipeline stages \[0, 2\] meet"):
            wires.add(x, y)


def test_what_does_not_fit_is_refused():
    with building():
        x = wires.of_bits(pyrtl.Const(3, 4), TensorType.full(i(4), ()))
        with pytest.raises(InternalError, match="does not fit u4"):
            wires.to_bits(x, u(4))
        with pytest.raises(InternalError, match="carries i8"):
            wires.of_bits(pyrtl.Const(3, 4), TensorType.full(i(8), ()))
        with pytest.raises(InternalError, match="right shift by -8"):
            wires.shift_floor(x, x)
        with pytest.raises(InternalError, match="bit_length of a value from -8"):
            wires.bit_length(x)
