"""Make the reductions that a chain has: the largest magnitude, the sum, the winner's index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import pyrtl

from cosim.ir.types import TensorType
from rtl.numerics import Int, absolute, add, bounded, constant, less, maximum, select
from rtl.ops.argmax import better
from rtl.units.reduce import Entry, Reducer


def largest_magnitude(x: TensorType, levels: int) -> Reducer:
    """Return the reducer of max|x|; without levels the one stage takes magnitudes itself.

    What is kept joins in the last level: three are compared two by two at once, in one stage.
    """
    single = levels == 0
    peak = max(abs(x.lo), abs(x.hi))

    def joined(level: Sequence[Entry], kept: Entry | None) -> Entry:
        values = [entry[0] for entry in level]
        if single:
            values = [absolute(v) for v in values]
        return (largest([*values, *(kept or ())]),)

    return Reducer(
        lambda value, _: (value,), lambda a, b: (maximum(a[0], b[0]),), joined, constant(0),
        [(0, peak)], max(levels, 1), early=True,
    )  # fmt: skip


def largest(values: Sequence[Int]) -> Int:
    """Return the largest of up to three values, all pairs compared at once."""
    if len(values) < 3:
        return reduce(maximum, values)
    a, b, c = values
    lo, hi = max(v.lo for v in values), max(v.hi for v in values)
    b_wins, c_over_a, c_over_b = less(a, b), less(a, c), less(b, c)
    c_wins = pyrtl.select(b_wins, c_over_b, c_over_a)
    found = select(c_wins, c, select(b_wins, b, a))
    return bounded(found, lo, hi)


def total(out: TensorType, levels: int) -> Reducer:
    """Return the reducer of a sum, which is kept in a register behind the tree."""

    def joined(level: Sequence[Entry], kept: Entry | None) -> Entry:
        ((value,),) = level
        found = value if kept is None else add(value, kept[0])
        return (bounded(found, max(found.lo, ends[0]), min(found.hi, ends[1])),)

    # Part of a sum of products of either sign lies in the bounds of all of it, and of none.
    ends = min(out.lo, 0), max(out.hi, 0)
    return Reducer(
        lambda value, _: (value,), lambda a, b: (add(a[0], b[0]),), joined, constant(0), [ends],
        levels,
    )  # fmt: skip


def winner(x: TensorType, size: int, levels: int) -> Reducer:
    """Return the reducer of (largest value, its index): the first one on a tie."""

    def joined(level: Sequence[Entry], kept: Entry | None) -> Entry:
        (entry,) = level
        value, index = entry
        entry = value, bounded(index, 0, min(index.hi, size - 1))
        return entry if kept is None else better((kept[0], kept[1]), entry)

    def combine(a: Entry, b: Entry) -> Entry:
        return better((a[0], a[1]), (b[0], b[1]))

    return Reducer(
        lambda value, n: (value, replace(constant(n), at=value.at)), combine, joined,
        constant(x.lo - 1), [(x.lo - 1, x.hi), (0, size - 1)], levels,
        placed=lambda entry, offset: (entry[0], add(entry[1], offset)),
    )  # fmt: skip
