"""Rotate a stream of rows: butterflies between rows and inside them, then sums over the base.

Glossary:
    power    2^k, the part of the order that butterflies do; base: 1, 12, 20, 28 or 40
    turnout  a row that goes through: a step, or a row that only lets a beat out
    bank     the rows of one part of the base, `depth` of them; the next block has its own

Butterflies between rows have a delay memory of as many rows: the first row of a pair waits there,
and its difference waits there again while the sum goes on. So the block's first row comes out with
its last row going in. Butterflies inside a row are wires. Then, where there is a base, the rows
wait in banks, and each row that leaves is a sum of one signed row of each: `~x` for -x, and the
ones that lack are the carries of the adders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyrtl

from cosim.ir.errors import InternalError
from cosim.ops import Hadamard
from cosim.ops.hadamard import base_matrix, split_order
from rtl.numerics import Int, Wire, add, add_carry, bounded, complement, select, sub
from rtl.pipe import Pipe
from rtl.units.fetch import table
from rtl.units.passing import Counters, Passing
from rtl.units.plan import same_in_all


@dataclass(frozen=True)
class Shape:
    """Hold how blocks of an order lie in rows of `width` elements.

    `is_gathered`: no stream of rows does it; a block is gathered first, and done as a whole.
    """

    order: int
    width: int
    is_gathered: bool

    @classmethod
    def of(cls, p: Passing) -> Shape:
        """Look at a task; raise UserError where its blocks do not fit the lanes."""
        name = p.job.task.nodes[0]
        op = same_in_all(p.ops, lambda o: o, name)
        assert isinstance(op, Hadamard)
        width = min(p.plan.unit.lanes, p.job.task.span)
        found = cls(op.order, width, False)
        return replace(found, is_gathered=not (found.fits and found._keeps_step(p)))

    @cached_property
    def base(self) -> int:
        """Return the base of the order."""
        return split_order(self.order)[0]

    @cached_property
    def power(self) -> int:
        """Return the power of two in the order."""
        return split_order(self.order)[1]

    @property
    def rows(self) -> int:
        """Return the rows of a block; 1 where a row holds whole blocks."""
        return -(-self.order // self.width)

    @property
    def depth(self) -> int:
        """Return the rows of a bank: those that butterflies join."""
        return max(self.power // self.width, 1)

    @property
    def parts(self) -> int:
        """Return how many numbers of the base lie in a row."""
        return max(self.width // self.power, 1)

    @property
    def fits(self) -> bool:
        """Tell whether each row holds whole blocks, or a part of one that a stream can do."""
        wide, block = self.width, self.order
        if wide % block == 0:
            return True
        return block % wide == 0 and (self.power % wide == 0 or wide % self.power == 0)

    def _keeps_step(self, p: Passing) -> bool:
        """Tell whether beats leave with the rows of the next block, one for one."""
        moves = p.rows.is_step | p.emits
        at = np.cumsum(moves) - 1
        steps, beats = at[p.rows.is_step], at[p.emits]
        late = np.arange(beats.size) + self.rows - 1
        return bool((steps == np.arange(steps.size)).all() and (beats == late).all())


class Rotation:
    """Rotate the rows of all jobs of one shape."""

    def __init__(
        self,
        shape: Shape,
        passings: Sequence[Passing],
        own: Sequence[bool],
        counters: Counters,
    ) -> None:
        """Look at the jobs of a shape; the others' rows pass it by."""
        self.shape, self.counters, self.pipe = shape, counters, Pipe()
        self.own = [p for p, o in zip(passings, own, strict=True) if o]
        mine = counters.by_job([int(o) for o in own], 0).wire
        self.moves = mine & (counters.steps | counters.emits)
        counts = [p.steps + shape.rows - 1 if o else 1 for p, o in zip(passings, own, strict=True)]
        self.counts, self.flags = counts, own
        bits = max(1, (max(counts) - 1).bit_length())
        self.at = pyrtl.Register(bits, reset_value=0)
        ends = self.at == table(counters.job, [n - 1 for n in counts])
        after = pyrtl.select(ends, pyrtl.Const(0, bits), (self.at + 1).truncate(bits))
        self.at.next <<= pyrtl.select(self.moves, after, self.at)

    def rotated(self, values: Sequence[Int]) -> list[Int]:
        """Return the rows that leave, of the rows that come in at stage 0."""
        delay = self.shape.depth // 2
        while delay:
            values = self._between(values, delay)
            delay //= 2
        values = self._inside(values)
        return self._based(values) if self.shape.base > 1 else values

    def _between(self, values: Sequence[Int], delay: int) -> list[Int]:
        """Join rows that are `delay` apart: the sum first, the difference as many rows later."""
        stage = values[0].at or 0
        differences = [sub(x, x) for x in values]
        like = [
            (min(x.lo, d.lo), max(x.hi, d.hi)) for x, d in zip(values, differences, strict=True)
        ]
        second = self.counters.later(self.at[(delay - 1).bit_length()], stage)
        moves = self.counters.later(self.moves, stage, 0)
        sizes = [bounded(x, *ends).bits for x, ends in zip(values, like, strict=True)]
        word = pyrtl.WireVector(sum(sizes))
        kept = self._line(word, moves, delay, stage)
        found, written, low = [], [], 0
        for x, ends, bits in zip(values, like, sizes, strict=True):
            old = Int(kept[low : low + bits], *ends, stage)
            low += bits
            first = bounded(old, x.lo, x.hi)
            difference = sub(first, x)
            found.append(
                self.pipe.cut(
                    select(second, add(first, x), bounded(old, difference.lo, difference.hi))
                )
            )
            written.append(bounded(select(second, difference, x), *ends).wire)
        word <<= pyrtl.concat_list(written)
        return found

    def _line(self, word: Wire, moves: Wire, delay: int, stage: int) -> Wire:
        """Keep rows for as many rows: a register, or a memory that is gone through in turn."""
        if delay == 1:
            register = pyrtl.Register(len(word))
            register.next <<= pyrtl.select(moves, word, register)
            return register
        bits = (delay - 1).bit_length()
        place = self.counters.later(self.at[:bits], stage)
        memory = pyrtl.MemBlock(len(word), bits, "delay", asynchronous=True)
        memory[place] <<= pyrtl.MemBlock.EnabledWrite(word, moves)
        out = pyrtl.WireVector(len(word))
        out <<= memory[place]
        return out

    def _inside(self, values: Sequence[Int]) -> list[Int]:
        """Join the elements of a row."""
        level, step = list(values), 1
        while step < min(self.shape.width, self.shape.power):
            moved = list(level)
            for low in range(len(level)):
                if low & step == 0:
                    a, b = level[low], level[low + step]
                    moved[low], moved[low + step] = (
                        self.pipe.cut(add(a, b)),
                        self.pipe.cut(sub(a, b)),
                    )
            level, step = moved, 2 * step
        return level

    def _based(self, values: Sequence[Int]) -> list[Int]:
        """Let rows wait in banks; return sums of one signed row of each."""
        shape, stage = self.shape, values[0].at or 0
        banks = self._banks(values, stage)
        rows = base_matrix(shape.base)
        group = self._by_row(lambda e: e % shape.rows // shape.depth, shape.rows - 1, stage)
        found = []
        for part in range(shape.parts):
            own = rows[part :: shape.parts]
            signs, carries = self._signs(own, group)
            for p in range(min(shape.power, shape.width)):
                terms = [
                    banks[b // shape.parts][b % shape.parts * shape.power + p]
                    for b in range(shape.base)
                ]
                found.append(self._sum(terms, signs, carries))
        return found

    def _signs(self, rows: np.ndarray, group: Wire) -> tuple[Wire, Wire]:
        """Return the flags of the terms to be negated, and as many carries, one an adder."""
        words, extra = [], []
        for row in rows:
            negative = [int(s < 0) for s in row]
            if sum(negative) == len(negative):
                raise InternalError("a row of a base has only negative signs: a carry is missing")
            words.append(sum(s << k for k, s in enumerate(negative)))
            extra.append((1 << sum(negative)) - 1)
        signs, carries = table(group, words), table(group, extra)
        return signs.zero_extended(self.shape.base), carries.zero_extended(self.shape.base)

    def _sum(self, terms: Sequence[Int], signs: Wire, carries: Wire) -> Int:
        level = [complement(x, signs[k]) for k, x in enumerate(terms)]
        adder = 0
        while len(level) > 1:
            made = []
            for a, b in zip(level[::2], level[1::2], strict=False):
                late = (a.at or 0) - (terms[0].at or 0)
                made.append(
                    self.pipe.cut(add_carry(a, b, self.counters.later(carries[adder], late)))
                )
                adder += 1
            level = made + [self.pipe.cut(x) for x in level[len(made) * 2 :]]
        ends = len(terms) * min(x.lo for x in terms), len(terms) * max(x.hi for x in terms)
        most = max(-ends[0], ends[1])
        return bounded(level[0], -most, most)

    def _banks(self, values: Sequence[Int], stage: int) -> list[list[Int]]:
        """Return the rows of all banks that a row that leaves is made of."""
        shape, depth = self.shape, self.shape.depth
        count = shape.rows // depth
        twice = any(p.steps > shape.rows for p in self.own)
        word = pyrtl.concat_list([x.wire for x in values])

        def place(e: int) -> int:
            return (e // shape.rows % 2 * depth if twice else 0) + e % depth

        came, leaves = depth - 1, shape.rows - 1
        moves = self.counters.later(self.moves, stage, 0)
        bank = self._by_row(lambda e: 1 + e % shape.rows // depth, came, stage, outside=0)
        write, read = self._by_row(place, came, stage), self._by_row(place, leaves, stage)
        passes = self._by_row(lambda e: int(e % shape.rows < depth), leaves, stage)
        found = []
        for number in range(count):
            own = moves & (bank == number + 1)
            kept = _bank(word, write, read, own, depth * (2 if twice else 1))
            if number == count - 1:
                kept = pyrtl.select(passes, word, kept)
            row, low = [], 0
            for x in values:
                row.append(replace(x, wire=kept[low : low + x.bits]))
                low += x.bits
            found.append(row)
        return found

    def _by_row(self, what: Callable[[int], int], late: int, stage: int, outside: int = 0) -> Wire:
        """Return a number at a stage: what(e) for the e-th row that comes `late` turnouts late."""
        bits = len(self.at)
        flat = []
        for p, mine, count in zip(self._padded(), self.flags, self.counts, strict=True):
            own = []
            for at in range(count if mine else 0):
                e = at - late
                own.append(what(e) if p is not None and 0 <= e < p.steps else outside)
            flat += own + [outside] * ((1 << bits) - len(own))
        return self.counters.later(table(pyrtl.concat(self.counters.job, self.at), flat), stage)

    def _padded(self) -> list[Passing | None]:
        listed = iter(self.own)
        return [next(listed) if mine else None for mine in self.flags]


def _bank(word: Wire, write: Wire, read: Wire, flag: Wire, places: int) -> Wire:
    """Keep the rows of a bank; return the one at a place."""
    if places == 1:
        register = pyrtl.Register(len(word))
        register.next <<= pyrtl.select(flag, word, register)
        return register
    memory = pyrtl.MemBlock(len(word), (places - 1).bit_length(), "bank", asynchronous=True)
    memory[write] <<= pyrtl.MemBlock.EnabledWrite(word, flag)
    out = pyrtl.WireVector(len(word))
    out <<= memory[read]
    return out
