"""Hold beats on their way: a FIFO whose places are reserved by credit.

The rules are those of the timed dataflow (docs/design.md section 5). A maker that starts a firing
in cycle t reserves a place; it writes the beat in cycle t + latency - 1, so that it can be popped
from cycle t + latency on. A place that is given up by a pop in cycle t can be reserved from t + 1
on. So the pipeline between never stops, and no path of wires leads from one end to the other.

The memory has a registered read port, as block RAM has: it reads the place that will be the front
in the next cycle, and a beat that is written to just that place goes past it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyrtl

from cosim.ir.errors import UserError
from rtl.numerics import Wire
from rtl.streams import Stream


@dataclass(frozen=True)
class Fifo:
    """Hold the wires of a FIFO.

    Given by it: `has_place` to the maker, `valid` and `data` to the taker. To be driven: `reserve`,
    then `push` with `beat` by the maker, `pop` by the taker.
    """

    has_place: Wire
    valid: Wire
    data: Wire
    reserve: Wire
    push: Wire
    beat: Wire
    pop: Wire

    @property
    def end(self) -> Stream:
        """Return the end at which beats are popped, as a stream."""
        return Stream(self.data, self.valid, self.pop)


def fifo(depth: int, bits: int, initial: int = 0) -> Fifo:
    """Build a FIFO of `depth` places; raise UserError where it cannot be built.

    `initial` beats of zeros are in it at the start.
    """
    if depth < 1 or bits < 1 or not 0 <= initial <= depth:
        raise UserError(
            f"FIFO of {depth} places of {bits} bits with {initial} beats at the start: need at "
            "least one place of one bit, and no more beats than places"
        )
    reserve, push, pop = (pyrtl.WireVector(1) for _ in range(3))
    beat = pyrtl.WireVector(bits)
    credit = counter(depth, depth - initial, pop, reserve)
    held = counter(depth, initial, push, pop)
    data = _front(depth, bits, initial, push, beat, pop)
    if initial:
        # The beats of the start were never written: they read as zeros until the last has gone.
        unread = pyrtl.Register(initial.bit_length(), reset_value=initial)
        is_first = unread != 0
        unread.next <<= pyrtl.select(is_first & pop, _minus(unread), unread)
        data = pyrtl.select(is_first, pyrtl.Const(0, bits), data)
    return Fifo(credit != 0, held != 0, data, reserve, push, beat, pop)


def counter(most: int, start: int, up: Wire, down: Wire) -> Wire:
    """Build a register that counts from 0 to `most`, up and down, from `start` on."""
    bits = most.bit_length()
    count = pyrtl.Register(bits, reset_value=start)
    step = pyrtl.select(up, (count + 1).truncate(bits), _minus(count))
    count.next <<= pyrtl.select(up ^ down, step, count)
    return count


def ring(size: int, step: Wire, start: int = 0) -> tuple[Wire, Wire]:
    """Build a register that counts 0 .. size - 1 round and round; return it and its next value."""
    bits = max(1, (size - 1).bit_length())
    place = pyrtl.Register(bits, reset_value=start)
    last = place == size - 1
    after = pyrtl.select(last, pyrtl.Const(0, bits), (place + 1).truncate(bits))
    following = pyrtl.select(step, after, place)
    place.next <<= following
    return place, following


def _front(depth: int, bits: int, initial: int, push: Wire, beat: Wire, pop: Wire) -> Wire:
    if depth == 1:
        only = pyrtl.Register(bits)
        only.next <<= pyrtl.select(push, beat, only)
        return only
    _, front = ring(depth, pop)
    back, _ = ring(depth, push, initial % depth)
    memory = pyrtl.MemBlock(bits, len(back), "places", asynchronous=True)
    memory[back] <<= pyrtl.MemBlock.EnabledWrite(beat, push)
    read, passed, is_passed = pyrtl.Register(bits), pyrtl.Register(bits), pyrtl.Register(1)
    read.next <<= memory[front]
    passed.next <<= beat
    is_passed.next <<= push & (back == front)
    return pyrtl.select(is_passed, passed, read)


def _minus(wire: Wire) -> Wire:
    return (wire - 1).truncate(len(wire))
