"""Count nested loops of rows, delay their counters, and keep a word for each turn of a loop."""

from __future__ import annotations

from collections.abc import Sequence

import pyrtl

from rtl.numerics import Wire
from rtl.pipe import delayed
from rtl.units.fifo import ring


class Nest:
    """Count nested loops, innermost first: a counter and the flag of its last value for each."""

    def __init__(self, step: Wire, sizes: Sequence[int]) -> None:
        """Build a counter for each size; `step` moves the innermost."""
        self.step, self.at, self.last = step, [], []
        for size in sizes:
            place, _ = ring(size, step)
            self.at.append(place)
            self.last.append(place == size - 1)
            step = step & self.last[-1]

    def whole(self, least: int, size: int) -> Wire:
        """Count two loops that are one behind the other, from `least` on, as one of `size`."""
        step = self.step
        for last in self.last[:least]:
            step = step & last
        return ring(size, step)[0]


class Late:
    """Delay what steers by some stages, once for all who ask."""

    def __init__(self) -> None:
        """Begin without registers."""
        self._late: dict[tuple[int, int], tuple[Wire, Wire]] = {}

    def later(self, wire: Wire, stage: int) -> Wire:
        """Return a wire of stage 0 at a stage; registers are shared."""
        if stage == 0:
            return wire
        key = id(wire), stage
        if key not in self._late:
            self._late[key] = wire, delayed(self.later(wire, stage - 1), 1)
        return self._late[key][1]

    def when(self, flag: Wire, stage: int) -> Wire:
        """Return a flag that moves something on at a stage: it starts from 0."""
        key = id(flag), ~stage
        if key not in self._late:
            late = flag if stage == 0 else delayed(self.when(flag, stage - 1), 1, reset=0)
            self._late[key] = flag, late
        return self._late[key][1]


class Kept:
    """Keep a word for each chunk, read at one stage and written at the same or a later one."""

    def __init__(self, bits: int, read: Wire, count: int, write_at: Wire | None = None) -> None:
        """Build a register or a memory of `count` words."""
        self.at = read if write_at is None else write_at
        if count == 1:
            self.word = self.register = pyrtl.Register(bits)
            self.memory = None
        else:
            self.memory = pyrtl.MemBlock(bits, len(read), "sums", asynchronous=True)
            self.word = pyrtl.WireVector(bits)
            self.word <<= self.memory[read]

    def write(self, word: Wire, enable: Wire) -> None:
        """Write the word of the chunk at its stage."""
        if self.memory is None:
            self.register.next <<= pyrtl.select(enable, word, self.register)
        else:
            self.memory[self.at] <<= pyrtl.MemBlock.EnabledWrite(word, enable)
