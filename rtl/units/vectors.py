"""Take vectors in row by row, sum each up, keep its rows, and let them out with what was found.

With the row that closes a vector its sum is complete. What is found out of it stands in registers
from some stage on, just when the vector's first row is read back out of a memory of rows; it stays
there until the next vector closes, and longer where rows mix the end of one with the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyrtl

from cosim.design.kinds import OUTPUT_STAGES, ROOT_STAGES, STAGES, tree_stages
from cosim.ir.errors import InternalError
from cosim.ir.op import Op
from cosim.ir.types import TensorType
from rtl.numerics import Int, Wire, add, bounded, constant, mul, select, to_bits
from rtl.ops.lanes import tree
from rtl.pipe import Pipe
from rtl.units.cuts import Cuts
from rtl.units.fetch import Fetch, choose, table
from rtl.units.passing import Counters, Passing, most_waiting, waiting
from rtl.units.plan import UnitPlan
from rtl.units.weights import in_order


def stages(op: str, lanes: int) -> int:
    """Return the cycles from the row that completes a vector to its first beat."""
    behind = STAGES["mul"] if op == "center" else ROOT_STAGES
    return STAGES[op] + tree_stages(lanes) + behind + OUTPUT_STAGES


class Vectors:
    """Sum vectors up, keep their rows, and bring both together when a vector's beats leave."""

    op: type[Op]

    def __init__(
        self,
        plan: UnitPlan,
        passings: Sequence[Passing],
        own: Sequence[bool],
        counters: Counters,
        fetch: Fetch,
    ) -> None:
        """Look at the jobs of this operator; the others' rows pass it by."""
        self.plan, self.counters, self.depth = plan, counters, tree_stages(plan.unit.lanes)
        self.own = [p for p, o in zip(passings, own, strict=True) if o]
        self.passings, self.flags = passings, own
        self._beat: Wire | None = None
        self.pipe = Pipe()
        mine = counters.by_job([int(o) for o in own], 0).wire
        self.steps, self.emits = counters.steps & mine, counters.emits & mine
        sizes = [p.into.shape[-1] if o else 1 for p, o in zip(passings, own, strict=True)]
        self.cuts = [Cuts(p, size) for p, size in zip(passings, sizes, strict=True)]
        self.opens, self.closes = (
            fetch.look_up([[int(f) for f in flags] for flags in every])
            for every in ([c.opens for c in self.cuts], [c.closes for c in self.cuts])
        )
        self.mixes = any(c.mixes for c, o in zip(self.cuts, own, strict=True) if o)
        width = plan.unit.lanes
        if self.mixes:
            self.behind = fetch.look_up([c.behind for c in self.cuts]).zero_extended(width)
        needs = [p.need() if o else None for p, o in zip(passings, own, strict=True)]
        self.lanes = fetch.lanes(needs)

    def each(self, values: Sequence[int]) -> list[int]:
        """Give the jobs of other operators any number."""
        listed = iter(values)
        return [next(listed) if o else values[0] for o in self.flags]

    def of_all(self, values: Sequence[Sequence[int]]) -> list[list[int]]:
        """Give the jobs of other operators any number: lists of numbers by turn, by job."""
        listed = iter(values)
        return [list(next(listed)) if o else list(values[0][:1]) for o in self.flags]

    def summed(self, terms: Sequence[Int], start: Int, lo: int, hi: int) -> Int:
        """Add rows up, from `start` on; return the vector's sum one stage behind that of a row."""
        at = terms[0].at or 0
        late: Int | None = None
        if self.mixes:
            behind = self.counters.later(self.behind, at)
            nothing = constant(0)
            late = self._row([select(behind[k], x, nothing) for k, x in enumerate(terms)])
            terms = [select(behind[k], nothing, x) for k, x in enumerate(terms)]
        total = self._row(terms)
        stage = at + self.depth
        closed, running = (pyrtl.Register(bounded(constant(0), lo, hi).bits) for _ in range(2))
        opens = self.counters.later(self.opens, stage)
        before = select(opens, start, Int(running, lo, hi, stage))
        following = bounded(add(before, total), lo, hi)
        moves = self.counters.later(self.steps, stage, 0)
        closed.next <<= pyrtl.select(moves, following.wire, closed)
        if late is None:
            running.next <<= pyrtl.select(moves, following.wire, running)
        else:
            # What stands behind the end of a vector is the beginning of the next one's sum.
            closes = self.counters.later(self.closes, stage)
            fresh = bounded(add(start, late), lo, hi)
            kept = pyrtl.select(closes, fresh.wire, following.wire)
            running.next <<= pyrtl.select(moves, kept, running)
        return Int(closed, lo, hi, stage + 1)

    def _row(self, terms: Sequence[Int]) -> Int:
        return self.pipe.until(tree(terms, add, self.pipe), (terms[0].at or 0) + self.depth)

    def held(self, found: Int) -> list[Int]:
        """Keep what has been found out about vectors; return that of each lane's, a stage behind.

        The beat that leaves is of the vector closed last, or of one before, where rows mix them.
        """
        assert found.at is not None
        closes = self.counters.later(self.steps & self.closes, found.at, 0)
        ages = [c.ages if o else [] for c, o in zip(self.cuts, self.flags, strict=True)]
        most = max(age for own in ages for beat in own for age in beat)
        chain = []
        younger = found.wire
        for _ in range(most + 1):
            register = pyrtl.Register(found.bits)
            register.next <<= pyrtl.select(closes, younger, register)
            chain.append(register)
            younger = register
        kept = [Int(w, found.lo, found.hi, found.at + 1) for w in chain]
        if not most:
            return kept * len(self.lanes)
        made: dict[tuple[int, ...], Int] = {}
        by_lane = []
        for lane in range(len(self.lanes)):
            own = [[beat[lane] for beat in job] or [0] for job in ages]
            key = tuple(v for job in own for v in job)
            if key not in made:
                index = self.counters.later(self._by_beat(own), found.at + 1)
                made[key] = replace(kept[0], wire=choose(index, chain))
            by_lane.append(made[key])
        return by_lane

    def _by_beat(self, values: Sequence[Sequence[int]]) -> Wire:
        """Return a number that depends on the job and on which of its beats leaves, at stage 0."""
        if self._beat is None:
            counts = [max(len(v), 1) for v in values]
            bits = max(1, (max(counts) - 1).bit_length())
            beat = pyrtl.Register(bits, reset_value=0)
            last = beat == table(self.counters.job, [n - 1 for n in counts])
            after = pyrtl.select(last, pyrtl.Const(0, bits), (beat + 1).truncate(bits))
            beat.next <<= pyrtl.select(self.emits, after, beat)
            self._beat = beat
        size = 1 << len(self._beat)
        flat = [v for own in values for v in (*own, *[0] * (size - len(own)))]
        return table(pyrtl.concat(self.counters.job, self._beat), flat)

    def read(self, stage: int) -> list[Int]:
        """Return the row that leaves with a firing at a stage."""
        order = [self.passings.index(p) for p in _round(self.plan, self.own)] * 2
        places = most_waiting(self.passings, order, stage + 1)
        word = pyrtl.concat_list([x.wire for x in self.lanes])
        taken = self.counters.later(self.emits, stage, 0)
        found = waiting(word, self.steps, taken, places)
        values, low = [], 0
        for x in self.lanes:
            values.append(replace(x, wire=found[low : low + x.bits], at=stage))
            low += x.bits
        return values

    def scaled(self, values: Sequence[Int], by: Sequence[Int]) -> list[Int]:
        """Multiply each lane's element by what stands behind it, in two stages."""
        return [self.pipe.cut(mul(self.pipe.cut(x), b)) for x, b in zip(values, by, strict=True)]

    def given(self, results: Mapping[TensorType, Sequence[Int]]) -> Mapping[str, Wire]:
        """Return the beats of each FIFO, out of the results of each type."""
        wires: dict[str, Wire] = {}
        for p in self.own:
            want = stages(p.ops[0].name, self.plan.unit.lanes) - 1
            values = results[self.out_type(p)]
            if any(x.at != want for x in values):
                raise InternalError(f"results of stage {values[0].at}, not {want}")
            for fifo in p.job.out:
                narrow = [bounded(x, p.out.lo, p.out.hi) for x in values[: fifo.beat]]
                wires[fifo.name] = pyrtl.concat_list([to_bits(x, p.out.dtype) for x in narrow])
        return wires

    def out_type(self, p: Passing) -> TensorType:
        """Return the type of a job's results, with bounds of all jobs that share the type."""
        alike = [q.out for q in self.own if q.out.dtype == p.out.dtype]
        return TensorType(p.out.dtype, (), min(t.lo for t in alike), max(t.hi for t in alike))


def _round(plan: UnitPlan, own: Sequence[Passing]) -> list[Passing]:
    """List the jobs of a round in order, those of one operator alone."""
    by_name = {p.job.task.name: p for p in own}
    return [by_name[j.task.name] for j, _ in in_order(plan) if j.task.name in by_name]
