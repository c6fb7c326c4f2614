"""Count the tokens that a ring of keys has seen, and tell which of its keys a query sees."""

from __future__ import annotations

import pyrtl

from cosim.ir.types import smallest_type
from cosim.ops.masks import Mask
from rtl.numerics import Int, Wire, add, bounded, constant, equal, less, negative, select, sub
from rtl.ops.masks import all_of, flag, modulo
from rtl.pipe import Pipe
from rtl.units.fifo import ring


class Seen:
    """Hold the position of the token at work, and its place in the ring.

    What only counts tokens is the same in every unit that reads it, so that each keeps its own.
    """

    def __init__(self, limit: int, places: int, token_ends: Wire) -> None:
        """Count from 0 to `limit`, one with each token's last row."""
        self.places, bits = places, smallest_type(0, limit).bits
        count = pyrtl.Register(bits, reset_value=0)
        more = token_ends & (count != limit)
        count.next <<= pyrtl.select(more, (count + 1).truncate(bits), count)
        self.position = Int(count, 0, limit, 0)
        self.place, _ = ring(places, more)

    def masked(self, mask: Mask, place: Wire, tile: Wire, pipe: Pipe) -> tuple[Int, Int]:
        """Return how far the key of a place is from the query, and the flag that it counts.

        `place` and its `tile` are at stage 0.
        """
        n = self.places
        here, now = (_counted(w, n) for w in (place, self.place))
        back = sub(now, here)
        age = select(negative(back), add(back, constant(n)), back)
        age = pipe.cut(bounded(age, 0, n - 1))
        position = pipe.cut(self.position)
        flags = [flag(~less(position, age), age.at), flag(less(age, constant(mask.window)), age.at)]
        if mask.blocks:
            key = pipe.cut(_counted(tile, n // mask.tile))
            listed = constant(0).wire
            for query, other in mask.pairs:
                above = less(constant(query * mask.tile - 1), position)
                below = less(position, constant((query + 1) * mask.tile))
                listed = listed | (above & below & equal(key, constant(other)))
            flags.append(flag(listed, age.at))
        flags = [pipe.cut(f) for f in flags]
        if mask.dilation > 1:
            rest = modulo(age, mask.dilation, pipe)
            flags.append(pipe.cut(flag(equal(rest, constant(0)), rest.at)))
        return age, all_of(flags, pipe)


def _counted(wire: Wire, size: int) -> Int:
    """Return a counter of 0 .. size - 1 as a value."""
    return Int(wire[: smallest_type(0, size - 1).bits], 0, size - 1, 0)
