"""Bring each row's multipliers to its products: from words on chip, or out of the weight stream.

A group's multipliers stand in registers for as long as the group is multiplied; the next group's
are there with its first step, as all of it moves with the firings.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyrtl

from rtl.numerics import Int, Wire, bounded, of_bits
from rtl.pipe import delayed
from rtl.units.fetch import Fetch, choose
from rtl.units.fifo import ring
from rtl.units.product import Product
from rtl.units.weights import Words


class Multipliers:
    """Hold the multipliers of the group at work, at stage 1, in pieces of `wide` bits by job."""

    def __init__(
        self, products: Sequence[Product], fetch: Fetch, pieces: Sequence[Wire], wide: Sequence[int]
    ) -> None:
        """Look at the pieces; those that a row's columns need are chosen as they are asked for."""
        self.products, self.fetch, self.pieces, self.wide = products, fetch, pieces, wide
        self._chosen: dict[tuple[int, tuple[tuple[int, ...], ...]], Int] = {}
        self._known: dict[tuple[tuple[int, ...], ...], Wire] = {}

    @classmethod
    def on_chip(
        cls, products: Sequence[Product], fetch: Fetch, words: Words, ends: Wire
    ) -> Multipliers:
        """Read a word for each group, and go on to the next where a group `ends`."""
        at, _ = ring(len(words), ends)
        rom = pyrtl.RomBlock(
            words.bits, len(at), words.integers(), "multipliers", asynchronous=True,
            pad_with_zeros=True,
        )  # fmt: skip
        return cls(products, fetch, [delayed(rom[at], 1)], [words.bits] * len(products))

    @classmethod
    def streamed(
        cls, products: Sequence[Product], fetch: Fetch, fire: Wire, taken: Wire, beat: Wire
    ) -> Multipliers:
        """Keep the beats `taken` before a group's weights; `beat` is at stage 1."""
        count = max(p.scales(streamed=True) for p in products)
        bits = max(1, (count - 1).bit_length())
        at = pyrtl.Register(bits, reset_value=0)
        # Whatever else is fired, the next piece is the first one of the next group.
        following = pyrtl.select(taken, (at + 1).truncate(bits), pyrtl.Const(0, bits))
        at.next <<= pyrtl.select(fire, following, at)
        pieces = []
        for number in range(count):
            piece = pyrtl.Register(len(beat))
            own = delayed(taken & (at == number), 1)
            piece.next <<= pyrtl.select(own, beat, piece)
            pieces.append(piece)
        return cls(products, fetch, pieces, [p.shape.beat_bits(p.plan.unit) for p in products])

    def of(self, lane: int, column: int) -> Int:
        """Return the multiplier of a row and a step's column, at stage 1."""
        groups = [p.group_of(column, p.op.weight_group) for p in self.products]
        options: dict[tuple[int, int], int] = {}
        numbers = [
            [options.setdefault((job, g), len(options)) for g in own]
            for job, own in enumerate(groups)
        ]
        known = tuple(map(tuple, groups))
        if known not in self._known:
            self._known[known] = delayed(self.fetch.look_up(numbers), 1)
        index = self._known[known]
        if (lane, known) not in self._chosen:
            found = [self._at(job, lane, group) for job, group in options]
            lo, hi = min(x.lo for x in found), max(x.hi for x in found)
            wires = [bounded(x, lo, hi).wire for x in found]
            self._chosen[lane, known] = Int(choose(index, wires), lo, hi, 1)
        return self._chosen[lane, known]

    def _at(self, job: int, lane: int, group: int) -> Int:
        """Cut a multiplier of a job out of the pieces that hold the group's."""
        m, wide = self.products[job].types[2], self.wide[job]
        left = m.dtype.bits
        low = (lane * m.shape[1] + group) * left
        parts = []
        while left:
            piece, start = divmod(low, wide)
            take = min(left, wide - start)
            parts.append(self.pieces[piece][start : start + take])
            low, left = low + take, left - take
        return of_bits(pyrtl.concat_list(parts), m, 1)
