"""Build a state unit: a chain whose states are read, updated, written back and contracted.

The span is the whole state. Each step reads the words of its elements from memories of the unit's
own, and writes them when they have been through the chain.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cosim.ir.errors import UserError
from rtl.numerics import Wire
from rtl.ops.lanes import Lanes, lanes
from rtl.streams import Stream
from rtl.units.chain import Chain
from rtl.units.fifo import Fifo
from rtl.units.kept import Memory, Steps, words_of
from rtl.units.plan import UnitPlan
from rtl.units.rows import Walk, laid, schedule_of
from rtl.units.shell import Control, attach
from rtl.units.stages import latency_of


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach a state unit in the working block; raise UserError where it cannot be built."""
    own, latency = laid(plan), latency_of(plan)
    # Where the next turn has the same states, it waits until they are written. With layers it has
    # others, and what comes back to these hangs on the beats of all turns between.
    wait = max(1, latency - own.count + 1) if plan.turns == 1 else 1

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        chain = _States(plan, Walk(own, control), beats)
        found = chain.pushes(latency)
        chain.write_back()
        return found

    attach(schedule_of(own, latency, wait), into, queues, datapath)


class _States(Chain):
    """Evaluate the nodes of a chain with states."""

    def __init__(self, plan: UnitPlan, walk: Walk, beats: Mapping[str, Wire]) -> None:
        """Begin without memories."""
        super().__init__(plan, walk, beats)
        self.steps = Steps(walk)
        self.memories: dict[str, tuple[Memory, np.ndarray, Lanes]] = {}

    def state(self, name: str, elements: np.ndarray) -> Lanes:
        """Return elements of a state: those of this step's word."""
        if name not in self.memories:
            words = words_of(elements)
            self.check_words(name, words)
            type_ = self.folded.type(name)
            memory = Memory(self.steps, type_, words.shape[1], "states")
            start = np.stack([s.reshape(-1) for s in self.folded.initial(name)])
            read = memory.read(list(self.looked_up(start, words, 0)))
            self.memories[name] = memory, words, lanes(read, (len(read),))
        _, words, read_lanes = self.memories[name]
        return self.moved(f"{name} as read", read_lanes, words, elements)

    def check_words(self, name: str, words: np.ndarray) -> None:
        """Raise UserError where two steps share an element: its word could not be written once."""
        used = words[words >= 0]
        written = self.sketch.states[name]
        if np.unique(used).size < used.size or not self.in_rows(written):
            raise UserError(
                f"unit {self.plan.unit.name}: {self.own.lanes} lanes cut groups of state {name!r}; "
                "choose lanes that hold whole groups"
            )

    def in_rows(self, name: str) -> bool:
        """Tell whether a value is complete with the row that takes its last element."""
        if name in self.stream.ready and self.stream.ready[name].size == self.job.task.span:
            return self.in_step(name)
        return True

    def write_back(self) -> None:
        """Write the next states."""
        for name, (memory, words, _) in self.memories.items():
            written = self.sketch.states[name]
            values = self.operand(written, words)
            at = max(v.at or 0 for v in values)
            memory.write([self.pipe.until(v, at) for v in values], at)
