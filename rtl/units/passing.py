"""Follow the rows of a unit that several tasks share: who steps, who emits, and how far.

A vector unit of one task has counters of its own (`rtl/units/rows.py`); here one control serves
jobs of different sizes, and its marks tell which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyrtl

from cosim.design.rows import Rows, lay_rows
from cosim.ir.errors import UserError
from cosim.ir.op import Op
from cosim.ir.types import TensorType, smallest_type
from rtl.numerics import Int, Wire, of_bits
from rtl.pipe import delayed
from rtl.units.fetch import Need, places_of, table
from rtl.units.plan import Job, UnitPlan
from rtl.units.runs import runs_of
from rtl.units.schedule import Run
from rtl.units.shell import Control


@dataclass(frozen=True, eq=False)
class Passing:
    """Hold a task of one operator that takes a value in and lets as many elements out."""

    plan: UnitPlan
    job: Job

    @cached_property
    def ops(self) -> tuple[Op, ...]:
        """Return the operator, layer by layer."""
        return self.plan.folded.ops(self.job.task.nodes[0])

    @cached_property
    def into(self) -> TensorType:
        """Return the type of the operand."""
        return self.plan.folded.type(self._operand)

    @cached_property
    def out(self) -> TensorType:
        """Return the type of the result."""
        return self.plan.folded.type(self.job.task.nodes[0])

    @property
    def steps(self) -> int:
        """Return the steps that take the value in."""
        return -(-self.job.task.span // self.plan.unit.lanes)

    @cached_property
    def rows(self) -> Rows:
        """Return the rows; raise UserError where some beat of the result goes to nobody."""
        lanes, flow = self.plan.unit.lanes, self.job.flow
        emissions = flow.emissions(lanes)
        for emission in emissions:
            if not np.any(list(emission.goes_to.values()), axis=0).all():
                raise UserError(
                    f"task {self.job.task.name}: part of its result goes nowhere, which a "
                    f"{self.plan.kind} unit cannot skip; let the graph use all of it"
                )
        return lay_rows(self.steps, flow.needs(lanes), emissions)

    @cached_property
    def emits(self) -> np.ndarray:
        """Return which rows let a beat out."""
        return np.any(list(self.rows.pushes.values()), axis=0)

    def need(self) -> Need:
        """Return which element each lane takes in each step."""
        at = places_of(self.job.task.span, self.plan.unit.lanes)
        return Need(self.job.flow, self._operand, at, self.rows, self.into)

    def runs(self, number: int, latency: int) -> tuple[Run, ...]:
        """Return the firings; the marks tell the job's number, the steps, and who emits."""
        rows = self.rows
        job = np.full(rows.is_step.size, number)
        marks = {"job": job, "steps": rows.is_step, "emits": self.emits}
        return runs_of(rows.pops, rows.pushes, marks, latency)

    @property
    def _operand(self) -> str:
        return self.plan.folded.skeleton.sketch.node(self.job.task.nodes[0]).inputs[0]


class Counters:
    """Count the steps of the job at work, and look up what depends on the job."""

    def __init__(self, control: Control, steps: Sequence[int]) -> None:
        """Attach a counter to a control in the working block; `steps` are those of each job."""
        self.control = control
        self.job: Wire = control.marks["job"]
        self.steps: Wire = control.fire & control.marks["steps"]
        self.emits: Wire = control.fire & control.marks["emits"]
        bits = max(1, (max(steps) - 1).bit_length())
        self.step = pyrtl.Register(bits, reset_value=0)
        closes = self.step == table(self.job, [n - 1 for n in steps])
        after = pyrtl.select(closes, pyrtl.Const(0, bits), (self.step + 1).truncate(bits))
        self.step.next <<= pyrtl.select(self.steps, after, self.step)
        self._delayed: dict[tuple[Wire, int, int | None], Wire] = {}

    def later(self, wire: Wire, stage: int, reset: int | None = None) -> Wire:
        """Return a wire of stage 0 at a stage; its registers are shared."""
        if stage == 0:
            return wire
        key = wire, stage, reset
        if key not in self._delayed:
            self._delayed[key] = delayed(self.later(wire, stage - 1, reset), 1, reset)
        return self._delayed[key]

    def by_job(self, values: Sequence[int], stage: int) -> Int:
        """Return a number that depends on the job at a stage."""
        return self._chosen(self.job, values, stage)

    def by_turn(self, values: Sequence[Sequence[int]], stage: int) -> Int:
        """Return a number that depends on the job and the turn: values[job][turn], or one."""
        if all(v == own[0] for own in values for v in own):
            return self.by_job([own[0] for own in values], stage)
        turns = 1 << len(self.control.loop)
        flat = [(own * turns if len(own) == 1 else [*own, *own[:1] * turns])[:turns]
                for own in (list(v) for v in values)]  # fmt: skip
        return self._chosen(
            pyrtl.concat(self.job, self.control.loop), [v for own in flat for v in own], stage
        )

    def _chosen(self, index: Wire, values: Sequence[int], stage: int) -> Int:
        lo, hi = min(values), max(values)
        like = TensorType(smallest_type(lo, hi), (), lo, hi)
        words = [v & ((1 << like.dtype.bits) - 1) for v in values]
        wire = table(self.later(index, stage), words)
        return of_bits(wire.zero_extended(like.dtype.bits), like, stage)


def most_waiting(passings: Sequence[Passing], order: Sequence[int], lag: int) -> int:
    """Return how many rows wait between the step that brings them and the beat that takes them.

    `order` lists the jobs of some rounds; a beat takes its row `lag` firings late at most.
    """
    came = np.concatenate([passings[j].rows.is_step for j in order]).cumsum()
    left = np.concatenate([passings[j].emits for j in order]).cumsum()
    gone = np.concatenate([np.zeros(lag, np.int64), left])[: came.size]
    return int((came - gone).max())


def waiting(word: Wire, write: Wire, read: Wire, places: int) -> Wire:
    """Keep words in turn until they are read in turn: a memory without flags of its own."""
    bits = max(1, (places - 1).bit_length())
    memory = pyrtl.MemBlock(len(word), bits, "waiting", asynchronous=True)
    ends = []
    for step in (write, read):
        at = pyrtl.Register(bits, reset_value=0)
        at.next <<= (at + step).truncate(bits)
        ends.append(at)
    memory[ends[0]] <<= pyrtl.MemBlock.EnabledWrite(word, write)
    out = pyrtl.WireVector(len(word))
    out <<= memory[ends[1]]
    return out
