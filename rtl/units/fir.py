"""Build a FIR unit: windows in a memory, a word of lanes for each step of each layer.

A step reads the newest values but the oldest of its window, which drops out, and writes them back
with the new value behind. Taps and biases are looked up by row and layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cosim.design.kinds import OUTPUT_STAGES, STAGES
from cosim.design.sketch import SketchNode
from cosim.ir.errors import UserError
from cosim.ops import Fir
from rtl.numerics import Int, Wire
from rtl.ops import WIRES
from rtl.ops.lanes import Lanes, lanes
from rtl.streams import Stream
from rtl.units.chain import Chain
from rtl.units.fifo import Fifo
from rtl.units.kept import Memory, Steps
from rtl.units.plan import UnitPlan
from rtl.units.rows import Walk, laid, only_job, schedule_of
from rtl.units.shell import Control, attach
from rtl.units.stages import latency_of, levels_of


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach a FIR unit in the working block; raise UserError where it cannot be built."""
    names = [plan.folded.skeleton.sketch.node(n).op.name for n in only_job(plan).task.nodes]
    if names != ["push", "fir"]:
        raise UserError(
            f"unit {plan.unit.name} does {', '.join(names)}; wires of a FIR unit do push, fir"
        )
    own, latency = laid(plan), latency_of(plan)
    # Where the next turn has the same windows, it waits until they are written.
    written = STAGES["push"] + OUTPUT_STAGES
    wait = max(1, written - own.count + 1) if plan.turns == 1 else 1

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        return _Filter(plan, Walk(own, control), beats).pushes(latency)

    attach(schedule_of(own, latency, wait), into, queues, datapath)


class _Filter(Chain):
    """Evaluate the filter for the channels of a step."""

    def evaluated(self, node: SketchNode, elements: np.ndarray) -> Lanes:
        """Read, push, write back, multiply by the taps and add."""
        push = self.sketch.node(node.inputs[0])
        state = push.inputs[0]
        taps, width = self.sketch.types[state].shape[0], elements.shape[1]
        x = list(self.operand(push.inputs[1], elements))
        kept = self.windows(state, elements, taps - 1)
        window = [*kept, *x]
        if taps > 1:
            # What is pushed is there with the firing: written at once, it is read in two cycles.
            self.memory.write(window[width:], 0)
        held = lanes([self.pipe.cut(v) for v in window], (taps, width))
        return self.filtered(node, held, elements)

    def windows(self, state: str, elements: np.ndarray, count: int) -> list[Int]:
        """Return the newest `count` values of each channel, oldest first."""
        if count == 0:
            return []
        width = elements.shape[1]
        type_ = self.folded.type(state)
        self.memory = Memory(Steps(self.walk), type_, count * width, "windows")
        start = np.stack([s.reshape(type_.shape)[1:] for s in self.folded.initial(state)])
        first = [v for k in range(count) for v in self.looked_up(start[:, k], elements, 0)]
        return self.memory.read(first)

    def filtered(self, node: SketchNode, window: Lanes, elements: np.ndarray) -> Lanes:
        """Multiply by the taps, add them and the bias, each looked up where it is needed."""
        at = STAGES["push"]
        taps, bias = self.folded.constants(node.name, 1), self.folded.constants(node.name, 2)
        shape = self.sketch.types[node.inputs[1]].shape
        rows = np.stack([np.broadcast_to(t, shape) for t in taps])
        weights = np.stack([self.looked_up(rows[:, k], elements, at) for k in range(shape[0])])
        added = at + 2 + levels_of(self.plan, node)
        offsets = self.looked_up(
            np.stack([np.broadcast_to(b, shape[1:]) for b in bias]), elements, added
        )
        out = self.type_in_lanes(node.name, elements.shape[1])
        op = self.variant(node)
        assert isinstance(op, Fir)
        made = WIRES["fir"](op, [window, weights, offsets], out, self.pipe)
        return self.checked(node, made, self.depths[node.name])
