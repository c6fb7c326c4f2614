"""Place pipeline registers and delays, so that values of one stage meet and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyrtl

from cosim.ir.errors import InternalError
from rtl.numerics import Int, Wire


@dataclass(frozen=True)
class Pipe:
    """Register values from stage to stage; with `registers` False only count the stages.

    Without registers a datapath is one net of gates: the same integers in the same cycle, which is
    what the proofs look at. What is delayed once serves all who ask for it: lanes share operands.
    """

    registers: bool = True
    made: dict[int, tuple[Wire, Wire]] = field(default_factory=dict, compare=False, repr=False)

    def cut(self, x: Int) -> Int:
        """Delay a value by one cycle; a constant is there at any time."""
        return x if x.at is None else self.until(x, x.at + 1)

    def until(self, x: Int, at: int) -> Int:
        """Delay a value until a stage; a constant is there at any time."""
        if x.at is None:
            return x
        if x.at > at:
            raise InternalError(f"a value of stage {x.at} is wanted at stage {at} already")
        return replace(x, wire=self.delayed(x.wire, at - x.at), at=at)

    def delayed(self, wire: Wire, cycles: int) -> Wire:
        """Delay a wire by some cycles."""
        if not self.registers:
            return wire
        for _ in range(cycles):
            # The wire is kept beside its register, so that its number is given to no other.
            if id(wire) not in self.made:
                self.made[id(wire)] = wire, delayed(wire, 1)
            wire = self.made[id(wire)][1]
        return wire

    def align(self, *values: Int) -> tuple[Int, ...]:
        """Delay all values until the stage of the latest."""
        at = latest(values)
        return values if at is None else tuple(self.until(x, at) for x in values)


def latest(values: Sequence[Int]) -> int | None:
    """Return the latest stage of some values; None where all are constants."""
    stages = [x.at for x in values if x.at is not None]
    return max(stages) if stages else None


def delayed(wire: Wire, cycles: int, reset: int | None = None) -> Wire:
    """Delay a wire by registers; those that steer (`reset` given) start from that value."""
    for _ in range(cycles):
        register = pyrtl.Register(len(wire), reset_value=reset)
        register.next <<= wire
        wire = register
    return wire


COMBINATIONAL = Pipe(registers=False)
