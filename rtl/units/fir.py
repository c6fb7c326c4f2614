"""Build a FIR unit: windows in a memory, a word of lanes for each step of each layer.

A step reads the newest values but the oldest of its window, which drops out, and writes them back
with the new value behind. Taps and biases are looked up by row and layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from cosim.design.kinds import OUTPUT_STAGES, STAGES
from cosim.design.sketch import SketchNode
from cosim.ir.errors import UserError
from cosim.ops import ShiftFir
from rtl.numerics import Wire
from rtl.ops import WIRES
from rtl.ops.lanes import Lanes, lanes
from rtl.streams import Stream
from rtl.units.chain import Chain
from rtl.units.fifo import Fifo
from rtl.units.kept import Memory, Steps
from rtl.units.plan import UnitPlan
from rtl.units.rows import Walk, laid, only_job, schedule_of
from rtl.units.shell import Control, attach
from rtl.units.stages import latency_of, stages_of

# What a task of the unit does: values pushed, and a filter over their windows.
TASKS = (["push", "fir"], ["push", "push", "shift_fir"])


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach a FIR unit in the working block; raise UserError where it cannot be built."""
    names = [plan.folded.skeleton.sketch.node(n).op.name for n in only_job(plan).task.nodes]
    if names not in TASKS:
        known = " or ".join(", ".join(task) for task in TASKS)
        raise UserError(
            f"unit {plan.unit.name} does {', '.join(names)}; wires of a FIR unit do {known}"
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

    @cached_property
    def steps(self) -> Steps:
        """Return the counter of steps."""
        return Steps(self.walk)

    def evaluated(self, node: SketchNode, elements: np.ndarray) -> Lanes:
        """Read, push, write back, multiply by the taps and add."""
        pushes = [n for n in node.inputs if n in self.job.task.nodes]
        windows = [self.pushed(self.sketch.node(n), elements) for n in pushes]
        at = STAGES["push"]
        # The bias joins behind the products and their tree, before the last register.
        added = at + stages_of(self.plan, node) - 1
        taps = len(pushes)
        fixed = [self.tapped(node, taps, elements, at)]
        if isinstance(node.op, ShiftFir):
            fixed.append(self.tapped(node, taps + 1, elements, at))
        first = taps + len(fixed)
        fixed += [self.biased(node, k, elements, added) for k in range(first, len(node.inputs))]
        out = self.type_in_lanes(node.name, elements.shape[1])
        op = self.variant(node)
        op = replace(op, group=1) if isinstance(op, ShiftFir) else op
        made = WIRES[op.name](op, [*windows, *fixed], out, self.pipe)
        return self.checked(node, made, self.depths[node.name])

    def pushed(self, push: SketchNode, elements: np.ndarray) -> Lanes:
        """Return the window [taps, lanes] with the new values, and keep all but the oldest."""
        state = push.inputs[0]
        taps, width = self.sketch.types[state].shape[0], elements.shape[1]
        x = list(self.operand(push.inputs[1], elements))
        window = x
        if taps > 1:
            type_ = self.folded.type(state)
            memory = Memory(self.steps, type_, (taps - 1) * width, "windows")
            start = np.stack([s.reshape(type_.shape)[1:] for s in self.folded.initial(state)])
            first = [v for k in range(taps - 1) for v in self.looked_up(start[:, k], elements, 0)]
            window = [*memory.read(first), *x]
            # What is pushed is there with the firing: written at once, it is read in two cycles.
            memory.write(window[width:], 0)
        return lanes([self.pipe.cut(v) for v in window], (taps, width))

    def tapped(self, node: SketchNode, k: int, elements: np.ndarray, stage: int) -> Lanes:
        """Return a constant of each tap and channel [taps, lanes]."""
        return np.stack([self.looked_up(row, elements, stage) for row in self.expanded(node, k)])

    def biased(self, node: SketchNode, k: int, elements: np.ndarray, stage: int) -> Lanes:
        """Return a constant of each channel."""
        return self.looked_up(self.expanded(node, k), elements, stage)

    def expanded(self, node: SketchNode, k: int) -> np.ndarray:
        """Return a constant by layer for all channels, the axis of layers behind that of taps."""
        shape = self.sketch.types[node.inputs[k]].shape
        every = np.stack([np.broadcast_to(c, shape) for c in self.folded.constants(node.name, k)])
        channels = self.job.task.span
        if shape[-1] != channels:
            assert isinstance(node.op, ShiftFir)
            every = np.repeat(every, node.op.group, axis=-1)[..., :channels]
        return np.moveaxis(every, 0, -2)
