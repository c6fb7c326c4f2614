"""Round, shift and saturate in wires: the only arithmetic that the datapaths use.

The twin of `cosim/ir/numerics.py`: below the helpers that numpy has of its own, the functions have
the same names, stand in the same order, and give the same integers. Each result is exactly as wide
as its proved bounds need, so that nothing can wrap.

Glossary:
    Int   a wire of `smallest_type(lo, hi)` with its bounds: unsigned where lo >= 0, else signed
    at    the pipeline stage of a value: registers since the operands came in; None for constants,
          which are there at any time. Values of different stages never meet: that is a bug of ours
    flag  a plain wire of one bit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pyrtl

from cosim.ir.errors import InternalError
from cosim.ir.numerics import round_bounds
from cosim.ir.types import IntType, TensorType, signed_bits, smallest_type

# A pyrtl.WireVector; the library ships no types.
Wire: TypeAlias = Any


@dataclass(frozen=True, eq=False)
class Int:
    """Hold an integer in wires: its bits, its proved bounds and its pipeline stage."""

    wire: Wire
    lo: int
    hi: int
    at: int | None = None

    def __post_init__(self) -> None:
        """Check that the wire is as wide as the bounds say."""
        if len(self.wire) != self.dtype.bits:
            raise InternalError(
                f"{self.wire} has {len(self.wire)} bits, its bounds {self.lo}..{self.hi} need "
                f"{self.dtype.bits}"
            )

    @property
    def dtype(self) -> IntType:
        """Return the narrowest type of the bounds."""
        return smallest_type(self.lo, self.hi)

    @property
    def bits(self) -> int:
        """Return the width."""
        return self.dtype.bits


def constant(value: int) -> Int:
    """Make a constant."""
    bits = smallest_type(value, value).bits
    return Int(pyrtl.Const(value & ((1 << bits) - 1), bits), value, value)


def pick(wire: Wire, bits: Sequence[int]) -> Wire:
    """Wire up the named bits, least significant first; a bit may come more than once."""
    if list(bits) == list(range(len(wire))):
        return wire
    out = pyrtl.WireVector(len(bits))
    pyrtl.working_block().add_net(pyrtl.LogicNet("s", tuple(bits), (wire,), (out,)))
    return out


def of_bits(wire: Wire, type_: TensorType, at: int | None = 0) -> Int:
    """Read a wire of a declared type whose values are known to lie in the type's bounds."""
    if len(wire) != type_.dtype.bits:
        raise InternalError(f"{wire} has {len(wire)} bits, but carries {type_.dtype}")
    return Int(pick(wire, range(smallest_type(type_.lo, type_.hi).bits)), type_.lo, type_.hi, at)


def to_bits(x: Int, dtype: IntType) -> Wire:
    """Write a value as a wire of a declared type that holds it."""
    if not dtype.holds(x.lo, x.hi):
        raise InternalError(f"a value of {x.lo}..{x.hi} does not fit {dtype}")
    return extend(x, dtype.bits)


def extend(x: Int, bits: int) -> Wire:
    """Widen the wire of a value: by its sign, or by zeros where it cannot be negative."""
    if bits < x.bits:
        raise InternalError(f"{x.bits} bits cannot be extended to {bits}")
    if x.lo < 0:
        return pick(x.wire, [*range(x.bits), *[x.bits - 1] * (bits - x.bits)])
    pad = bits - x.bits
    return pyrtl.concat(pyrtl.Const(0, pad), x.wire) if pad else x.wire


def bounded(x: Int, lo: int, hi: int) -> Int:
    """Narrow a value to tighter bounds that are proved elsewhere, or widen it to looser ones."""
    want = smallest_type(lo, hi)
    # The top bit of the wider of both types decides how the bits between them read.
    wide = x.wire if want.bits <= x.bits else extend(x, want.bits)
    return Int(pick(wide, range(want.bits)), lo, hi, x.at)


def stage_of(*values: Int) -> int | None:
    """Return the pipeline stage that the values share; None where all are constants."""
    stages = sorted({x.at for x in values if x.at is not None})
    if len(stages) > 1:
        raise InternalError(f"values of the pipeline stages {stages} meet; delay some")
    return stages[0] if stages else None


def select(flag: Wire, yes: Int, no: Int) -> Int:
    """Choose `yes` where the flag is set, else `no`."""
    lo, hi = min(yes.lo, no.lo), max(yes.hi, no.hi)
    a, b = bounded(yes, lo, hi), bounded(no, lo, hi)
    return Int(pyrtl.select(flag, a.wire, b.wire), lo, hi, stage_of(yes, no))


def add(a: Int, b: Int) -> Int:
    """Add."""
    return _sum(a, b, "+", a.lo + b.lo, a.hi + b.hi)


def add_carry(a: Int, b: Int, carry: Wire) -> Int:
    """Add, and one more where the flag is set: its bit is the carry into the lowest place."""
    lo, hi = a.lo + b.lo, a.hi + b.hi + 1
    wide = max(smallest_type(lo, hi).bits, a.bits, b.bits)
    # One more place below, in which 1 and the flag add up: one chain of carries does it all.
    one = pyrtl.Const(1, 1)
    total = pyrtl.concat(extend(a, wide), one) + pyrtl.concat(extend(b, wide), carry)
    return Int(pick(total, range(1, smallest_type(lo, hi).bits + 1)), lo, hi, stage_of(a, b))


def complement(x: Int, flag: Wire) -> Int:
    """Return -x - 1 where the flag is set, else x: with a carry, that is -x."""
    lo, hi = min(x.lo, -x.hi - 1), max(x.hi, -x.lo - 1)
    bits = smallest_type(lo, hi).bits
    return Int(extend(x, bits) ^ flag.sign_extended(bits), lo, hi, x.at)


def sub(a: Int, b: Int) -> Int:
    """Subtract b from a."""
    return _sum(a, b, "-", a.lo - b.hi, a.hi - b.lo)


def neg(x: Int) -> Int:
    """Change the sign."""
    return sub(constant(0), x)


def mul(a: Int, b: Int) -> Int:
    """Multiply; by a constant power of two, shift."""
    for x, y in ((a, b), (b, a)):
        if y.at is None and y.lo == y.hi and y.lo > 0 and y.lo & (y.lo - 1) == 0:
            return shift_left(x, y.lo.bit_length() - 1)
    ends = [x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    lo, hi = min(ends), max(ends)
    bits = smallest_type(lo, hi).bits
    if a.lo >= 0 and b.lo >= 0:
        product = a.wire * b.wire
        bits = min(bits, len(product))
    else:
        # Both sign-extended to the product's width: its low bits are those of the signed product.
        bits = max(bits, a.bits, b.bits)
        product = extend(a, bits) * extend(b, bits)
    exact = smallest_type(lo, hi).bits
    return Int(pick(product, range(exact)), lo, hi, stage_of(a, b))


def square(x: Int) -> Int:
    """Multiply by itself."""
    low = 0 if x.lo <= 0 <= x.hi else min(x.lo * x.lo, x.hi * x.hi)
    return bounded(mul(x, x), low, max(x.lo * x.lo, x.hi * x.hi))


def negative(x: Int) -> Wire:
    """Return the flag x < 0."""
    return pick(x.wire, [x.bits - 1]) if x.lo < 0 else pyrtl.Const(0, 1)


def less(a: Int, b: Int) -> Wire:
    """Return the flag a < b."""
    return negative(sub(a, b))


def equal(a: Int, b: Int) -> Wire:
    """Return the flag a == b."""
    bits = signed_bits(min(a.lo, b.lo), max(a.hi, b.hi))
    return extend(a, bits) == extend(b, bits)


def any_bit(wire: Wire) -> Wire:
    """Return the flag that some bit is set."""
    return ~(wire == pyrtl.Const(0, len(wire)))


def absolute(x: Int) -> Int:
    """Drop the sign."""
    if x.lo >= 0:
        return x
    return bounded(select(negative(x), neg(x), x), 0, max(-x.lo, x.hi))


def maximum(a: Int, b: Int) -> Int:
    """Return the larger of both."""
    return bounded(select(less(a, b), b, a), max(a.lo, b.lo), max(a.hi, b.hi))


def clip(x: Int, low: int, high: int) -> Int:
    """Clip to constants low <= high."""
    if x.lo < low:
        below = less(x, constant(low))
        x = bounded(select(below, constant(low), x), low, max(x.hi, low))
    if x.hi > high:
        above = less(constant(high), x)
        x = bounded(select(above, constant(high), x), min(x.lo, high), high)
    return x


def shift_half(x: Int, s: Int | int) -> Int:
    """Divide by 2^s rounding down, but keep one fraction bit: floor(2x / 2^s), exactly.

    The first half of every rounding shift: floor(x / 2^s + 1/2) = floor((this + 1) / 2).
    """
    if not isinstance(s, int):
        if s.lo == s.hi:
            return replace(shift_half(x, s.lo), at=stage_of(x, s))
        # Up by the most, exactly, then down: one shifter serves both ways.
        up = max(1 - s.lo, 0)
        return shift_floor(shift_left(x, up), add(s, constant(up - 1)))
    return shift_floor(x, s - 1) if s >= 1 else shift_left(x, 1 - s)


def round_half(half: Int, lo: int, hi: int) -> Int:
    """Round what has one fraction bit half up; lo to hi are the bounds of the result."""
    bit = Int(pick(half.wire, [0]), 0, 1, half.at)
    return bounded(add(shift_floor(half, 1), bit), lo, hi)


def round_ends(x: Int, s: Int | int) -> tuple[int, int]:
    """Return the bounds of a rounding shift."""
    ends = [round_bounds(x.lo, x.hi, k) for k in ((s, s) if isinstance(s, int) else (s.lo, s.hi))]
    return min(lo for lo, _ in ends), max(hi for _, hi in ends)


# Here the twins begin: the names and the order of cosim/ir/numerics.py.


def shift_left(x: Int, s: Int | int) -> Int:
    """Multiply by 2^s, s >= 0."""
    if not isinstance(s, int):
        if s.lo < 0:
            raise InternalError(f"a left shift by {s.lo}..{s.hi} is none")
        return _barrel(x, s, shift_left)
    lo, hi = x.lo << s, x.hi << s
    wire = pyrtl.concat(x.wire, pyrtl.Const(0, s)) if s else x.wire
    # Zero has one bit, however far it is shifted.
    return Int(pick(wire, range(smallest_type(lo, hi).bits)), lo, hi, x.at)


def shift_floor(x: Int, s: Int | int) -> Int:
    """Divide by 2^s and round toward minus infinity."""
    if not isinstance(s, int):
        if s.lo < 0:
            raise InternalError(f"a right shift by {s.lo}..{s.hi} is none")
        return _barrel(x, s, shift_floor)
    lo, hi = x.lo >> s, x.hi >> s
    top = [x.bits - 1] if x.lo < 0 else []
    kept = [*range(s, x.bits), *top][: smallest_type(lo, hi).bits]
    return Int(pick(x.wire, kept), lo, hi, x.at) if kept else replace(constant(0), at=x.at)


def shift_ceil(x: Int, s: Int | int) -> Int:
    """Divide by 2^s and round toward plus infinity."""
    return neg(shift_floor(neg(x), s))


def shift_round(x: Int, s: Int | int) -> Int:
    """Divide by 2^s, s >= 0, and round half up."""
    if (s if isinstance(s, int) else s.lo) < 0:
        raise InternalError("a rounding shift by a negative number is none")
    return shift_signed(x, s)


def shift_signed(x: Int, s: Int | int) -> Int:
    """Divide by 2^s rounding half up where s >= 0, multiply by 2^-s where s < 0."""
    return round_half(shift_half(x, s), *round_ends(x, s))


def saturate(x: Int, dtype: IntType) -> Int:
    """Clip to the range of a type."""
    if dtype.holds(x.lo, x.hi):
        return x
    lo, hi = (min(max(b, dtype.lo), dtype.hi) for b in (x.lo, x.hi))
    at = x.at
    if lo == hi:
        return replace(constant(lo), at=at)
    bits = dtype.bits
    sign = negative(x)
    if not dtype.signed:
        above = any_bit(pick(x.wire, range(bits, x.bits))) if x.bits > bits else sign
        low = Int(pick(pyrtl.concat(pyrtl.Const(0, bits), x.wire), range(bits)), 0, dtype.hi, at)
        inside = select(above, constant(dtype.hi), low)
        return bounded(select(sign, constant(0), inside), lo, hi)
    # A value fits where all bits from the type's sign bit on are equal.
    wide = extend(x, x.bits if x.lo < 0 else x.bits + 1)
    top = pick(wide, range(bits - 1, len(wide)))
    fits = (top == pyrtl.Const((1 << len(top)) - 1, len(top))) | ~any_bit(top)
    low = Int(pick(wide, range(bits)), dtype.lo, dtype.hi, at)
    end = select(sign, constant(dtype.lo), constant(dtype.hi))
    return bounded(select(fits, low, end), lo, hi)


def bit_length(x: Int) -> Int:
    """Count the bits of x >= 0, as `int.bit_length` does."""
    if x.lo < 0:
        raise InternalError(f"bit_length of a value from {x.lo}")
    rest, flags = x.wire, []
    step = 1 << max((x.bits - 1).bit_length() - 1, 0)
    while step >= 1 and x.bits > 1:
        if len(rest) < 2 * step:
            rest = pyrtl.concat(pyrtl.Const(0, 2 * step - len(rest)), rest)
        high, low = pick(rest, range(step, 2 * step)), pick(rest, range(step))
        above = any_bit(high)
        flags.append(above)
        rest = pyrtl.select(above, high, low)
        step //= 2
    last = Int(rest, 0, 1, x.at)
    if not flags:
        return last
    count = Int(pyrtl.concat(*flags), 0, (1 << len(flags)) - 1, x.at)
    return bounded(add(count, last), x.lo.bit_length(), x.hi.bit_length())


def _sum(a: Int, b: Int, op: str, lo: int, hi: int) -> Int:
    bits = smallest_type(lo, hi).bits
    # A difference that cannot be negative may have operands wider than itself.
    wide = max(bits, a.bits, b.bits)
    x, y = extend(a, wide), extend(b, wide)
    total = x + y if op == "+" else x - y
    return Int(pick(total, range(bits)), lo, hi, stage_of(a, b))


def _barrel(x: Int, s: Int, shift: Any) -> Int:
    """Shift by a value: by its least exactly, by the rest bit after bit."""
    at = stage_of(x, s)
    out = shift(x, s.lo)
    rest = bounded(sub(s, constant(s.lo)), 0, s.hi - s.lo)

    def between(most: int) -> tuple[int, int]:
        """Return the bounds of x shifted by s.lo to `most`."""
        ends = [(x.lo << e, x.hi << e) if shift is shift_left else (x.lo >> e, x.hi >> e)
                for e in (s.lo, most)]  # fmt: skip
        return min(lo for lo, _ in ends), max(hi for _, hi in ends)

    for k in reversed(range(rest.hi.bit_length())):
        most = rest.hi >> k
        # Where bit k is set, no more than this was shifted by the bits above it.
        before = bounded(out, *between(s.lo + ((most - 1) >> 1 << (k + 1))))
        out = select(pick(rest.wire, [k]), shift(before, 1 << k), out)
        out = bounded(out, *between(s.lo + (most << k)))
    return replace(out, at=at)
