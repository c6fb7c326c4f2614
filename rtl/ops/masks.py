"""Find in wires which keys of a ring a query sees; flags are values of 0 and 1 with their stage."""

from __future__ import annotations

from cosim.ops.masks import Mask
from rtl.numerics import (
    Int,
    Wire,
    absolute,
    add,
    bounded,
    constant,
    equal,
    less,
    negative,
    select,
    sub,
)
from rtl.pipe import Pipe


def modulo(x: Int, n: int, pipe: Pipe) -> Int:
    """Return x mod n of x >= 0: a subtraction and a register for each bit of x // n."""
    for k in reversed(range((x.hi // n).bit_length())):
        part = constant(n << k)
        x = pipe.cut(bounded(select(less(x, part), x, sub(x, part)), 0, (n << k) - 1))
    return x


def flag(wire: Wire, at: int | None) -> Int:
    """Make a value of a flag."""
    return Int(wire, 0, 1, at)


class Places:
    """Hold what a query finds in each place of a ring: how far its key is, and whether it counts.

    Two stages after the place of the newest key the distances are there; the flags come one later,
    or after the remainder by the dilation.
    """

    def __init__(self, mask: Mask, position: Int, newest: Int, places: int, pipe: Pipe) -> None:
        """Compare the newest key's place with each place."""
        self.mask, self.places, self.pipe = mask, places, pipe
        self.position, self.newest = position, newest
        self.last = modulo(newest, places, pipe)

    def far(self, place: int) -> Int:
        """Return the distance of the key in a place."""
        return self.pipe.cut(absolute(self._back(place)))

    def shown(self, place: int) -> Int:
        """Return the flag of a key that counts."""
        mask, pipe = self.mask, self.pipe
        far, back = self.far(place), pipe.cut(self._back(place))
        age, newest = pipe.align(pipe.cut(self._age(place)), self.newest)
        older = less(newest, age)  # older than the first key: nothing is there yet
        flags = [flag(~older, age.at), flag(less(far, constant(mask.window)), far.at)]
        if mask.causal:
            flags.append(flag(~negative(back), back.at))
        if mask.blocks:
            flags.append(self._listed(place // mask.tile))
        flags = [pipe.cut(f) for f in flags]
        if mask.dilation > 1:
            rest = modulo(far, mask.dilation, pipe)
            flags.append(pipe.cut(flag(equal(rest, constant(0)), rest.at)))
        return all_of(flags, pipe)

    def _age(self, place: int) -> Int:
        """Return how many tokens before the newest one the key of a place came."""
        back = sub(self.last, constant(place))
        round_ = add(back, constant(self.places))
        age = select(negative(back), round_, back)
        return self.pipe.cut(bounded(age, 0, self.places - 1))

    def _back(self, place: int) -> Int:
        """Return how many positions before the query the key of a place is."""
        age = self._age(place)
        if self.mask.causal:
            return age
        age, position, newest = self.pipe.align(age, self.position, self.newest)
        return add(sub(position, newest), age)

    def _listed(self, key_tile: int) -> Int:
        """Return the flag of a query whose tile is listed with a key's tile."""
        tile, position = self.mask.tile, self.position
        found = constant(0)
        for query, key in self.mask.pairs:
            if key == key_tile:
                above = less(constant(query * tile - 1), position)
                below = less(position, constant((query + 1) * tile))
                found = flag(found.wire | (above & below), position.at)
        return found


def all_of(flags: list[Int], pipe: Pipe) -> Int:
    """Return the flag of all flags, at the stage of the latest."""
    aligned = pipe.align(*flags)
    wire = aligned[0].wire
    for other in aligned[1:]:
        wire = wire & other.wire
    return flag(wire, aligned[0].at)
