"""Follow the rows of one task: its schedule, its counters, and small tables by row and by turn.

Glossary:
    row    a firing of the task, counted from 0 in every turn (`cosim/design/rows.py`)
    step   a row that takes `lanes` elements of the span; the others only load or only emit
    stage  a firing that starts in cycle t has its stage s in cycle t + s
    index  turn * rows + row: where a table has a word for every row of every layer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import pyrtl

from cosim.design.rows import Emission, Rows, lay_rows
from cosim.ir.errors import UserError
from cosim.ir.types import smallest_type
from rtl.numerics import Int, Wire, constant, pick
from rtl.pipe import delayed
from rtl.units.fifo import ring
from rtl.units.plan import Job, UnitPlan
from rtl.units.runs import runs_of
from rtl.units.schedule import Schedule
from rtl.units.shell import Control


@dataclass(frozen=True, eq=False)
class Laid:
    """Hold a job's rows for some lanes. `turns`: how often they are done in a round."""

    job: Job
    lanes: int
    turns: int

    @cached_property
    def steps(self) -> int:
        """Return the number of steps."""
        return -(-self.job.task.span // self.lanes)

    @cached_property
    def emissions(self) -> list[Emission]:
        """Return the emission of each value that leaves."""
        return self.job.flow.emissions(self.lanes)

    @cached_property
    def rows(self) -> Rows:
        """Return what each row pops and pushes."""
        return lay_rows(self.steps, self.job.flow.needs(self.lanes), self.emissions)

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return int(self.rows.is_step.size)

    @cached_property
    def stepped(self) -> np.ndarray:
        """Return [rows, lanes]: the span element that each row takes in each lane; -1: none."""
        order = self.job.flow.stream.order
        padded = np.full(self.steps * self.lanes, -1, np.int64)
        padded[: order.size] = order
        found = np.full((self.count, self.lanes), -1, np.int64)
        found[self.rows.is_step] = padded.reshape(self.steps, self.lanes)
        return found

    def pushed(self, root: str) -> np.ndarray:
        """Return [rows, beat]: the element of a value that each row pushes at each place."""
        fifos = [f for f in self.job.out if f.value == root]
        beat = fifos[0].beat
        emitted = self.job.flow.stream.emission(root)
        padded = np.full(-(-emitted.size // beat) * beat, -1, np.int64)
        padded[: emitted.size] = emitted
        beats = padded.reshape(-1, beat)
        sent = np.any([self.job.flow.passage(f).carried(beat) for f in fifos], axis=0)
        rows = np.any([self.rows.pushes[f.name] for f in fifos], axis=0)
        found = np.full((self.count, beat), -1, np.int64)
        found[rows] = beats[sent]
        return found


def only_job(plan: UnitPlan) -> Job:
    """Return the one job of a unit; raise UserError where it has several."""
    if len(plan.jobs) > 1:
        names = ", ".join(j.task.name for j in plan.jobs)
        raise UserError(
            f"unit {plan.unit.name} does {len(plan.jobs)} tasks ({names}); wires of a "
            f"{plan.kind} unit do one, used for every layer: quantise all layers alike"
        )
    return plan.jobs[0]


def laid(plan: UnitPlan) -> Laid:
    """Lay the rows of a unit of one job."""
    job = only_job(plan)
    return Laid(job, plan.unit.lanes, plan.turns if job.task.part == "block" else 1)


def schedule_of(
    own: Laid,
    latency: int,
    last_cycles: int = 1,
    stepwise: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Schedule:
    """Return the schedule of a job; the last row holds the unit for `last_cycles`.

    `stepwise` are FIFOs that are popped, and pushed, with each step besides.
    """
    popped, pushed = (dict.fromkeys(names, own.rows.is_step) for names in stepwise)
    rows = replace(own.rows, pops={**own.rows.pops, **popped}, pushes={**own.rows.pushes, **pushed})
    runs = list(runs_of(rows.pops, rows.pushes, {}, latency))
    if last_cycles > 1:
        times, kind = runs.pop()
        last = (1, replace(kind, interval=Fraction(last_cycles)))
        runs += [(times - 1, kind), last] if times > 1 else [last]
    part, empty = tuple(runs), ()
    if own.job.task.part == "block":
        return Schedule(empty, part, empty, own.turns)
    return Schedule(part) if own.job.task.part == "before" else Schedule(after=part)


class Walk:
    """Count the rows of one job, and look tables up by them at any stage."""

    def __init__(self, own: Laid, control: Control) -> None:
        """Attach counters to a control in the working block."""
        self.own, self.control = own, control
        self.row, self.next_row = ring(own.count, control.fire)
        self._stages: dict[tuple[str, int], Wire] = {}
        self._turn_zero = pyrtl.Const(0, 1)

    @cached_property
    def index(self) -> tuple[Wire, Wire]:
        """Return the index of this row and that of the next cycle's."""
        return ring(self.own.count * self.own.turns, self.control.fire)

    def fire(self, stage: int) -> Wire:
        """Return the flag that a firing is at a stage."""
        return self.at("fire", self.control.fire, stage, reset=0)

    def flag(self, name: str, stage: int) -> Wire:
        """Return the flag that a FIFO is popped by the firing at a stage."""
        return self.at(f"pop {name}", self.control.pops[name], stage, reset=0)

    def row_at(self, stage: int) -> Wire:
        """Return the row at a stage."""
        return self.at("row", self.row, stage)

    def turn_at(self, stage: int) -> Wire:
        """Return the turn at a stage."""
        return self.at("turn", self.control.loop, stage)

    def at(self, name: str, wire: Wire, stage: int, reset: int | None = None) -> Wire:
        """Delay what steers by some stages, once for all who ask."""
        if stage == 0:
            return wire
        key = (name, stage)
        if key not in self._stages:
            self._stages[key] = delayed(self.at(name, wire, stage - 1, reset), 1, reset)
        return self._stages[key]

    def by_row(self, values: np.ndarray, there: np.ndarray | None, stage: int) -> Int:
        """Look a number up by the row; `there` says in which rows it matters."""
        table = np.broadcast_to(values, (self.own.turns, self.own.count))
        mask = None if there is None else np.broadcast_to(there, table.shape)
        return self.tables([table], [mask], stage)[0]

    def tables(
        self, tables: Sequence[np.ndarray], there: Sequence[np.ndarray | None], stage: int
    ) -> list[Int]:
        """Look numbers up: each table is [turns, rows]; equal ones share their wires.

        What is the same in all rows that matter is a constant; what depends on the turn, or on
        some bits of the row, is looked up by those; the rest by the index.
        """
        found: list[Int | None] = [None] * len(tables)
        words: dict[str, dict[bytes, tuple[np.ndarray, list[int]]]] = {}
        kinds: dict[str, tuple[Wire, int]] = {}
        for n, (table, mask) in enumerate(zip(tables, there, strict=True)):
            kind, address, column = self._column(table, mask, stage)
            if kind == "constant":
                found[n] = constant(int(column[0]))
                continue
            kinds[kind] = address
            words.setdefault(kind, {}).setdefault(column.tobytes(), (column, []))[1].append(n)
        for kind, columns in words.items():
            wire, _ = kinds[kind]
            read = _wide_rom(wire, [c for c, _ in columns.values()], stage)
            for value, (_, places) in zip(read, columns.values(), strict=True):
                for n in places:
                    found[n] = value
        return [f for f in found if f is not None]

    def _column(
        self, table: np.ndarray, mask: np.ndarray | None, stage: int
    ) -> tuple[str, tuple[Wire, int], np.ndarray]:
        """Return by what a table is looked up, the address, and its words."""
        turns, rows = self.own.turns, self.own.count
        table = np.asarray(table, np.int64).reshape(turns, rows)
        mask = np.ones((turns, rows), bool) if mask is None else np.broadcast_to(mask, table.shape)
        known = table[mask]
        if known.size == 0 or np.all(known == known[0]):
            return "constant", (None, 0), np.array([known[0] if known.size else 0])
        by_turn = _settled(table, mask, np.repeat(np.arange(turns), rows))
        if by_turn is not None:
            return "turn", (self.turn_at(stage), turns), by_turn
        bits = len(self.row)
        for width in range(1, bits + 1):
            for low in range(bits - width + 1):
                keys = np.arange(rows) >> low & ((1 << width) - 1)
                words = _settled(table, mask, np.tile(keys, turns))
                if words is not None:
                    wire = pick(self.row_at(stage), range(low, low + width))
                    return f"row {low} {width}", (wire, 1 << width), words
        whole = _settled(table, mask, np.arange(turns * rows))
        assert whole is not None
        wire = self.at("index", self.index[0], stage)
        return "index", (wire, turns * rows), whole


def _settled(table: np.ndarray, mask: np.ndarray, keys: np.ndarray) -> np.ndarray | None:
    """Return one word per key where the known entries of a table agree on it, else None."""
    known, at = table.reshape(-1)[mask.reshape(-1)], keys[mask.reshape(-1)]
    words = np.full(int(keys.max()) + 1, known[0], np.int64)
    words[at] = known
    return words if np.array_equal(words[at], known) else None


def _wide_rom(address: Wire, columns: Sequence[np.ndarray], stage: int) -> list[Int]:
    """Read several numbers out of one wide word."""
    found: list[Int] = []
    types = [smallest_type(int(c.min()), int(c.max())) for c in columns]
    size = max(c.size for c in columns)
    words = [0] * size
    low = 0
    for column, type_ in zip(columns, types, strict=True):
        mask = (1 << type_.bits) - 1
        for at, value in enumerate(column.tolist()):
            words[at] |= (value & mask) << low
        low += type_.bits
    read = _read(address, words, low)
    low = 0
    for column, type_ in zip(columns, types, strict=True):
        wire = pick(read, range(low, low + type_.bits))
        found.append(Int(wire, int(column.min()), int(column.max()), stage))
        low += type_.bits
    return found


def _read(address: Wire, words: list[int], bits: int) -> Wire:
    if bits == len(address) and words == list(range(len(words))):
        return address
    if len(address) == 1:
        both = [pyrtl.Const(w, bits) for w in (*words, *words[:1])][:2]
        return pyrtl.select(address, both[1], both[0])
    rom = pyrtl.RomBlock(
        bits, len(address), words, "rows", asynchronous=True, pad_with_zeros=True
    )  # fmt: skip
    out = pyrtl.WireVector(bits)
    out <<= rom[address]
    return out
