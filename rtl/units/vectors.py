"""Take vectors in row by row, sum each up, keep its rows, and let them out with what was found.

With the row that closes a vector its sum is complete. What is found out of it stands in registers
from some stage on, just when the vector's first row is read back out of a memory of rows; it stays
there until the next vector closes, by when all rows of this one have been read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyrtl

from cosim.design.kinds import OUTPUT_STAGES, ROOT_STAGES, STAGES, tree_stages
from cosim.ir.errors import InternalError
from cosim.ir.op import Op
from cosim.ir.types import TensorType
from rtl.numerics import Int, Wire, add, bounded, constant, select, to_bits
from rtl.ops.lanes import tree
from rtl.pipe import Pipe
from rtl.units.fetch import Fetch
from rtl.units.passing import Counters, Passing, most_waiting, waiting
from rtl.units.plan import UnitPlan
from rtl.units.weights import in_order

PIPE = Pipe()


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
        mine = counters.by_job([int(o) for o in own], 0).wire
        self.steps, self.emits = counters.steps & mine, counters.emits & mine
        rows = [-(-p.into.shape[-1] // plan.unit.lanes) for p in passings]
        self.opens, self.closes = (
            fetch.look_up(
                [[int(s % r == at % r) for s in range(p.steps)]
                 for p, r in zip(passings, rows, strict=True)]
            )
            for at in (0, -1)
        )  # fmt: skip
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
        total = PIPE.until(tree(terms, add, PIPE), (terms[0].at or 0) + self.depth)
        assert total.at is not None
        like = bounded(constant(0), lo, hi)
        register = pyrtl.Register(like.bits)
        opens = self.counters.later(self.opens, total.at)
        before = select(opens, start, Int(register, lo, hi, total.at))
        following = bounded(add(before, total), lo, hi)
        moves = self.counters.later(self.steps, total.at, 0)
        register.next <<= pyrtl.select(moves, following.wire, register)
        return Int(register, lo, hi, total.at + 1)

    def held(self, *found: Int) -> list[Int]:
        """Keep what has been found out about a vector, from one stage behind on."""
        kept = []
        for x in found:
            assert x.at is not None
            register = pyrtl.Register(x.bits)
            closes = self.counters.later(self.steps & self.closes, x.at, 0)
            register.next <<= pyrtl.select(closes, x.wire, register)
            kept.append(Int(register, x.lo, x.hi, x.at + 1))
        return kept

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
