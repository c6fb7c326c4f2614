"""Build a state unit: a chain whose states are read, updated, written back and contracted.

The span is the whole state. Each step reads the words of its elements, from memories of the unit's
own or from a beat of `state.in`, and writes them, there or to `state.out`, when they have been
through the chain.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyrtl

from cosim.design.plan import STATE_FIFOS
from cosim.ir.errors import UserError
from rtl.numerics import Int, Wire, select
from rtl.ops.lanes import Lanes, lanes
from rtl.streams import Stream
from rtl.units.chain import Chain
from rtl.units.fifo import Fifo
from rtl.units.kept import Memory, Steps, Words, packed, streams_of, words_of_states
from rtl.units.plan import UnitPlan
from rtl.units.rows import Walk, laid, schedule_of
from rtl.units.shell import Control, attach
from rtl.units.stages import latency_of

STATE_IN, STATE_OUT = STATE_FIFOS


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach a state unit in the working block; raise UserError where it cannot be built."""
    own, latency = laid(plan), latency_of(plan)
    off_chip = streams_of(plan) is not None
    if off_chip and (STATE_IN not in into or STATE_OUT not in queues):
        raise UserError(
            f"unit {plan.unit.name}: its states are off chip, but no streams bring and take them; "
            "keep states on chip"
        )
    # Where the next turn has the same states, it waits until they are written. With layers it has
    # others, and what comes back to these hangs on the beats of all turns between.
    comes_back = plan.turns == 1 and not off_chip
    wait = max(1, latency - own.count + 1) if comes_back else 1

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        chain = _States(plan, Walk(own, control), beats)
        found = chain.pushes(latency)
        return found | ({STATE_OUT: chain.sent(latency)} if off_chip else chain.write_back())

    stepwise = ((STATE_IN,), (STATE_OUT,)) if off_chip else ((), ())
    attach(schedule_of(own, latency, wait, stepwise), into, queues, datapath)


class _States(Chain):
    """Evaluate the nodes of a chain with states."""

    def __init__(self, plan: UnitPlan, walk: Walk, beats: Mapping[str, Wire]) -> None:
        """Begin without memories."""
        super().__init__(plan, walk, beats)
        self.steps = Steps(walk)
        self.words = words_of_states(self.own, self.folded)
        self.memories: dict[str, Memory] = {}
        self.read: dict[str, Lanes] = {}
        for words in self.words.values():
            self.check_words(words)

    def state(self, name: str, elements: np.ndarray) -> Lanes:
        """Return elements of a state: those of this step's word."""
        words = self.words[name]
        if name not in self.read:
            first = self.looked_up(
                np.stack([s.reshape(-1) for s in self.folded.initial(name)]), words.elements, 0
            )
            read = self.word_of(words, list(first))
            self.read[name] = lanes(read, (len(read),))
        return self.moved(f"{name} as read", self.read[name], words.elements, elements)

    def word_of(self, words: Words, first: list[Int]) -> list[Int]:
        """Return the word of this step; in the first round, its initial elements."""
        if STATE_IN not in self.beats:
            memory = Memory(self.steps, words.type, words.width, "states")
            self.memories[words.state] = memory
            return memory.read(first)
        low = 0
        for name, before in self.words.items():
            if name == words.state:
                break
            low += before.bits
        beat = self.beats[STATE_IN][low : low + words.bits]
        came = self.cut_up(beat, words.type, words.width)
        return [select(self.steps.is_first, a, b) for a, b in zip(first, came, strict=True)]

    def check_words(self, words: Words) -> None:
        """Raise UserError where two steps share an element: its word could not be written once."""
        used = words.elements[words.elements >= 0]
        written = self.sketch.states[words.state]
        if np.unique(used).size < used.size or not self.in_rows(written):
            raise UserError(
                f"unit {self.plan.unit.name}: {self.own.lanes} lanes cut groups of state "
                f"{words.state!r}; choose lanes that hold whole groups"
            )

    def in_rows(self, name: str) -> bool:
        """Tell whether a value is complete with the row that takes its last element."""
        if name in self.stream.ready and self.stream.ready[name].size == self.job.task.span:
            return self.in_step(name)
        return True

    def updated(self, words: Words) -> list[Int]:
        """Return the next word of this step."""
        values = self.operand(self.sketch.states[words.state], words.elements)
        at = max(v.at or 0 for v in values)
        return [self.pipe.until(v, at) for v in values]

    def write_back(self) -> dict[str, Wire]:
        """Write the next states to the memories; nothing leaves."""
        for name, memory in self.memories.items():
            values = self.updated(self.words[name])
            memory.write(values, max(v.at or 0 for v in values))
        return {}

    def sent(self, latency: int) -> Wire:
        """Return the beat that takes the next states away."""
        parts = [
            packed([self.pipe.until(v, latency - 1) for v in self.updated(w)], w.type.dtype)
            for w in self.words.values()
        ]
        return pyrtl.concat_list(parts)
