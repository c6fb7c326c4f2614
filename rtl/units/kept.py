"""Keep a state on chip: a memory with a word for each step of each layer, read and written back.

The memory has a registered read port, as block RAM has: it reads the word of the next step. It is
not initialised: until the first round is over, a flag gives what the states hold at the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyrtl

from cosim.design.plan import STATE_FIFOS
from cosim.design.wires import operand_map
from cosim.ir.types import IntType, TensorType
from rtl.numerics import Int, Wire, of_bits, select, to_bits
from rtl.units.fifo import ring
from rtl.units.plan import Folded, UnitPlan
from rtl.units.rows import Laid, Walk, laid


class Steps:
    """Count the steps of a round over all turns, and tell the first round from the others."""

    def __init__(self, walk: Walk) -> None:
        """Attach a counter in the working block."""
        self.walk = walk
        own = walk.own
        flag = walk.by_row(own.rows.is_step.astype(int), None, 0)
        self.takes = walk.fire(0) if flag.lo == 1 else walk.fire(0) & flag.wire
        self.count = own.steps * own.turns
        self.place, self.following = ring(self.count, self.takes)

    @cached_property
    def is_first(self) -> Wire:
        """Return the flag that the first round is not over."""
        first = pyrtl.Register(1, reset_value=1)
        ends = self.takes & (self.place == self.count - 1)
        first.next <<= pyrtl.select(ends, pyrtl.Const(0, 1), first)
        return first

    def place_at(self, stage: int) -> Wire:
        """Return the number of the step at a stage."""
        return self.walk.at("step", self.place, stage)

    def takes_at(self, stage: int) -> Wire:
        """Return the flag that a step is at a stage."""
        return self.walk.at("takes", self.takes, stage, reset=0)


class Memory:
    """Hold the words of a state: `width` elements for each step."""

    def __init__(self, steps: Steps, type_: TensorType, width: int, name: str) -> None:
        """Build the memory and its read port."""
        self.steps, self.type, self.width = steps, type_, width
        self.memory = pyrtl.MemBlock(
            type_.dtype.bits * width, len(steps.place), name, asynchronous=True
        )
        self.word = pyrtl.Register(type_.dtype.bits * width)
        self.word.next <<= self.memory[steps.following]

    def read(self, first: Sequence[Int]) -> list[Int]:
        """Return the elements of this row's step; `first` are those of the first round."""
        bits = self.type.dtype.bits
        return [
            select(self.steps.is_first, start, of_bits(self.word[n * bits : (n + 1) * bits], like))
            for n, (start, like) in enumerate(zip(first, [self.type] * self.width, strict=True))
        ]

    def write(self, values: Sequence[Int], stage: int) -> None:
        """Write the elements of the step at a stage."""
        word = packed(values, self.type.dtype)
        enable = self.steps.takes_at(stage)
        self.memory[self.steps.place_at(stage)] <<= pyrtl.MemBlock.EnabledWrite(word, enable)


@dataclass(frozen=True, eq=False)
class Words:
    """Hold the elements of a state that each row reads and writes: [rows, width]; -1: none."""

    state: str
    elements: np.ndarray
    type: TensorType

    @property
    def width(self) -> int:
        """Return the elements of a word."""
        return int(self.elements.shape[1])

    @property
    def bits(self) -> int:
        """Return the bits of a word."""
        return self.width * self.type.dtype.bits


def words_of_states(own: Laid, folded: Folded) -> dict[str, Words]:
    """Return the words of the states that a job reads, in order of first use."""
    sketch = folded.skeleton.sketch
    found: dict[str, Words] = {}
    for name in own.job.task.nodes:
        node = sketch.node(name)
        for k, operand in enumerate(node.inputs):
            if operand in sketch.states and operand not in found:
                picked = operand_map(sketch, node, k)
                taken = own.stepped
                if picked is not None:
                    taken = np.where(taken >= 0, picked[taken], -1)
                found[operand] = Words(operand, words_of(taken), folded.type(operand))
    return found


@dataclass(frozen=True)
class Streams:
    """Describe the streams of states that live off chip: bits of a beat, places of both FIFOs."""

    bits: int
    places_in: int
    places: int


def streams_of(plan: UnitPlan) -> Streams | None:
    """Return how a state unit's states come and go; None where they stay on chip.

    A beat holds the words of one step side by side, that of the first state lowest.
    """
    design = plan.folded.design
    if plan.kind != "state" or design.places["states"] == "chip":
        return None
    own = laid(plan)
    words = words_of_states(own, plan.folded)
    given = dict(design.choices.depths)
    places = (given.get(name, own.steps) for name in STATE_FIFOS)
    return Streams(sum(w.bits for w in words.values()), *places) if words else None


def packed(values: Sequence[Int], dtype: IntType) -> Wire:
    """Set values side by side, the first one lowest."""
    return pyrtl.concat_list([to_bits(v, dtype) for v in values])


def words_of(elements: np.ndarray) -> np.ndarray:
    """Return [rows, width]: the different elements of each row, in order of their lanes; -1: none.

    >>> words_of(np.array([[0, 0, 1, 1], [2, 2, -1, -1]])).tolist()
    [[0, 1], [2, -1]]
    """
    rows = [list(dict.fromkeys(int(e) for e in row if e >= 0)) for row in elements]
    found = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for n, row in enumerate(rows):
        found[n, : len(row)] = row
    return found
