"""Build a norm unit: a vector is taken in while its squares are summed, then scaled and let out.

Its elements wait in a memory of rows. With the row that closes a vector its sum is complete; the
root, or the mean, is ready some stages later, just when the vector's first row is read back. The
factor stays until the next vector closes; all rows of the vector have been read by then.

A unit may scale (`rms_norm`) and subtract means (`center`): each has a datapath of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyrtl

from cosim.design.kinds import OUTPUT_STAGES, ROOT_STAGES, STAGES, tree_stages
from cosim.ir.errors import InternalError, UserError
from cosim.ir.types import TensorType
from cosim.ops import Center, RmsNorm
from rtl.numerics import Int, Wire, add, bounded, constant, mul, select, square, sub, to_bits
from rtl.ops.center import mean_of, reciprocal, shift_of
from rtl.ops.lanes import rescaled, tree, within
from rtl.ops.rms_norm import fixed_shift, root_of, size_root
from rtl.pipe import Pipe
from rtl.streams import Stream
from rtl.units.fetch import Fetch
from rtl.units.fifo import Fifo
from rtl.units.passing import Counters, Passing, most_waiting, waiting
from rtl.units.plan import UnitPlan, same_in_all
from rtl.units.runs import schedule_of
from rtl.units.shell import Control, attach
from rtl.units.weights import in_order

PIPE = Pipe()


def stages(op: str, lanes: int) -> int:
    """Return the cycles from the row that completes a vector to its first beat."""
    behind = ROOT_STAGES if op == "rms_norm" else STAGES["mul"]
    return STAGES[op] + tree_stages(lanes) + behind + OUTPUT_STAGES


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach the unit's actor in the open block.

    Raise UserError for an operator without wires, or lanes that mix two vectors in a row.
    """
    passings = [Passing(plan, job) for job in plan.jobs]
    for p in passings:
        _check(p)
    schedule = schedule_of(
        plan,
        {
            p.job.task.name: p.runs(n, stages(p.ops[0].name, plan.unit.lanes))
            for n, p in enumerate(passings)
        },
    )

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        counters = Counters(control, [p.steps for p in passings])
        fetch = Fetch(control, beats, counters.job, counters.step)
        found: dict[str, Wire] = {}
        for kind in (_Scaled, _Centred):
            own = [isinstance(p.ops[0], kind.op) for p in passings]
            if any(own):
                found.update(kind(plan, passings, own, counters, fetch).outputs())
        return found

    attach(schedule, into, queues, datapath)


def _check(p: Passing) -> None:
    lanes, size, name = p.plan.unit.lanes, p.into.shape[-1], p.job.task.nodes[0]
    if not isinstance(p.ops[0], RmsNorm | Center):
        raise UserError(
            f"node {name!r}: a norm unit in wires has rms_norm and center, not {p.ops[0].name}; "
            "quantise with a recipe that uses them"
        )
    if p.into.size != size and size % lanes:
        raise UserError(
            f"node {name!r}: {p.into.size // size} vectors of {size} elements in rows of {lanes} "
            f"lanes would share rows; give unit {p.plan.unit.name} lanes that divide {size}"
        )


class _Vectors:
    """Sum vectors up, keep their rows, and bring both together when a vector's beats leave."""

    op: type[RmsNorm] | type[Center]

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


class _Scaled(_Vectors):
    op = RmsNorm

    def outputs(self) -> Mapping[str, Wire]:
        """Sum the squares, find the root, multiply each element by it."""
        first = 1 + self.depth
        ops = [[op for op in p.ops if isinstance(op, RmsNorm)] for p in self.own]
        eps = [[op.eps for op in own] for own in ops]
        least, most = min(map(min, eps)), 0
        for p, own in zip(self.own, eps, strict=True):
            most = max(most, p.into.shape[-1] * p.into.peak**2 + max(own))
        start = self.counters.by_turn(self._of_all(eps), first)
        total = self.summed([PIPE.cut(square(x)) for x in self.lanes], start, least, most)
        assert total.at is not None
        sizes = self.each([size_root(p.into.shape[-1]) for p in self.own])
        shifts = self.each([self._shift(p) for p in self.own])
        scale, fixed = (self.counters.by_job(v, total.at) for v in (sizes, shifts))
        factor, shift = root_of(total, scale, fixed, PIPE)
        assert factor.at is not None
        by, down = self.held(factor, shift)
        values = [PIPE.cut(mul(PIPE.cut(x), by)) for x in self.read(factor.at)]
        types = {self.out_type(p) for p in self.own}
        down = PIPE.cut(down)
        return self.given({t: [rescaled(v, down, t, PIPE) for v in values] for t in types})

    def _of_all(self, values: list[list[int]]) -> list[list[int]]:
        listed = iter(values)
        return [next(listed) if o else values[0][:1] for o in self.flags]

    def _shift(self, p: Passing) -> int:
        name = p.job.task.nodes[0]
        op = p.ops[0]
        same_in_all(p.ops, lambda o: isinstance(o, RmsNorm) and (o.frac_bits, o.dtype), name)
        assert isinstance(op, RmsNorm)
        return fixed_shift(op)


class _Centred(_Vectors):
    op = Center

    def outputs(self) -> Mapping[str, Wire]:
        """Sum up, find the mean, subtract it from each element."""
        lo = min(min(p.into.lo * p.into.shape[-1], 0) for p in self.own)
        hi = max(max(p.into.hi * p.into.shape[-1], 0) for p in self.own)
        total = self.summed(self.lanes, constant(0), lo, hi)
        assert total.at is not None
        sizes = [p.into.shape[-1] for p in self.own]
        scale, s = (
            self.counters.by_job(self.each([of(n) for n in sizes]), total.at)
            for of in (reciprocal, shift_of)
        )
        mean = mean_of(total, scale, s, PIPE)
        assert mean.at is not None
        (middle,) = self.held(mean)
        end = stages("center", self.plan.unit.lanes) - 1
        lo, hi = min(p.out.lo for p in self.own), max(p.out.hi for p in self.own)
        like = TensorType(self.own[0].out.dtype, (), lo, hi)
        # The stages that are left are for the synthesis to spread the product over.
        values = [
            PIPE.until(within(sub(PIPE.cut(x), middle), like), end) for x in self.read(mean.at)
        ]
        return self.given({self.out_type(p): values for p in self.own})


def _round(plan: UnitPlan, own: Sequence[Passing]) -> list[Passing]:
    """List the jobs of a round in order, those of one operator alone."""
    by_name = {p.job.task.name: p for p in own}
    return [by_name[j.task.name] for j, _ in in_order(plan) if j.task.name in by_name]
