"""Build a norm unit: a vector is taken in while its squares are summed, then scaled and let out.

A unit may scale by a root (`rms_norm`, or `rms_table` out of a table) and subtract means
(`center`): each has a datapath of its own, which keeps vectors as `rtl/units/vectors.py` does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyrtl

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType
from cosim.ops import Center, RmsNorm, RmsTable
from rtl.numerics import (
    Int,
    Wire,
    constant,
    mul,
    of_bits,
    saturate,
    shift_floor,
    square,
    sub,
)
from rtl.ops.center import mean_of, reciprocal, shift_of
from rtl.ops.lanes import Table, rescaled, within
from rtl.ops.rms_norm import fixed_shift, root_of, size_root
from rtl.ops.rms_table import root_of as table_root_of
from rtl.streams import Stream
from rtl.units.fetch import Fetch
from rtl.units.fifo import Fifo, ring
from rtl.units.passing import Counters, Passing
from rtl.units.plan import UnitPlan, same_in_all
from rtl.units.runs import schedule_of
from rtl.units.shell import Control, attach
from rtl.units.vectors import Vectors, stages
from rtl.units.weights import Words, in_order, packed


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
        for kind in (_Scaled, _Tabled, _Centred):
            own = [isinstance(p.ops[0], kind.op) for p in passings]
            if any(own):
                found.update(kind(plan, passings, own, counters, fetch).outputs())
        return found

    attach(schedule, into, queues, datapath)


def _check(p: Passing) -> None:
    lanes, size, name = p.plan.unit.lanes, p.into.shape[-1], p.job.task.nodes[0]
    if not isinstance(p.ops[0], RmsNorm | RmsTable | Center):
        raise UserError(
            f"node {name!r}: a norm unit in wires has rms_norm, rms_table and center, not "
            f"{p.ops[0].name}; quantise with a recipe that uses them"
        )
    if p.into.size != size and size < lanes:
        raise UserError(
            f"node {name!r}: {p.into.size // size} vectors of {size} elements are shorter than the "
            f"rows of {lanes} lanes, so that several end in one; give unit {p.plan.unit.name} "
            f"{size} lanes at most"
        )


class _Scaled(Vectors):
    op = RmsNorm

    def outputs(self) -> Mapping[str, Wire]:
        """Sum the squares, find the root, multiply each element by it."""
        first = 1 + self.depth
        ops = [[op for op in p.ops if isinstance(op, RmsNorm)] for p in self.own]
        eps = [[op.eps for op in own] for own in ops]
        least, most = min(map(min, eps)), 0
        for p, own in zip(self.own, eps, strict=True):
            most = max(most, p.into.shape[-1] * p.into.peak**2 + max(own))
        start = self.counters.by_turn(self.of_all(eps), first)
        total = self.summed([self.pipe.cut(square(x)) for x in self.lanes], start, least, most)
        assert total.at is not None
        sizes = self.each([size_root(p.into.shape[-1]) for p in self.own])
        shifts = self.each([self._shift(p) for p in self.own])
        scale, fixed = (self.counters.by_job(v, total.at) for v in (sizes, shifts))
        factor, shift = root_of(total, scale, fixed, self.pipe)
        assert factor.at is not None
        by, down = self.held(factor), self.held(shift)
        values = self.scaled(self.read(factor.at), by)
        late = {id(d): self.pipe.cut(d) for d in down}
        both = [(v, late[id(d)]) for v, d in zip(values, down, strict=True)]
        types = dict.fromkeys(self.out_type(p) for p in self.own)
        return self.given({t: [rescaled(v, d, t, self.pipe) for v, d in both] for t in types})

    def _shift(self, p: Passing) -> int:
        name = p.job.task.nodes[0]
        op = p.ops[0]
        same_in_all(p.ops, lambda o: isinstance(o, RmsNorm) and (o.frac_bits, o.dtype), name)
        assert isinstance(op, RmsNorm)
        return fixed_shift(op)


class _Tabled(Vectors):
    op = RmsTable

    def outputs(self) -> Mapping[str, Wire]:
        """Sum the squares, look the root up, multiply each element by it and by its weight."""
        most = max(p.into.shape[-1] * p.into.peak**2 for p in self.own)
        total = self.summed([self.pipe.cut(square(x)) for x in self.lanes], constant(0), 0, most)
        assert total.at is not None
        ops = [self._op(p) for p in self.own]
        table, places = self._tables()
        entries = table.values.shape[1]
        count = max(len(op.starts) for op in ops)
        segments = []
        for k in range(count):
            # What has fewer segments never reaches the others.
            starts = [op.starts[k] if k < len(op.starts) else most + 1 for op in ops]
            steps, lifts = (
                [v[min(k, len(v) - 1)] for v in of]
                for of in ([op.log2_steps for op in ops], [op.lifts for op in ops])
            )
            firsts = [[(at + min(k, len(op.starts) - 1)) * entries for at in own]
                      for op, own in zip(ops, places, strict=True)]  # fmt: skip
            start, step, lift = (
                self.counters.by_job(self.each(v), total.at) for v in (starts, steps, lifts)
            )
            first = self.counters.by_turn(self.of_all(firsts), total.at)
            segments.append((start, step, lift, first))
        root = table_root_of(total, segments, entries, table, self.pipe)
        assert root.at is not None
        return self._weighed(self.scaled(self.read(root.at), self.held(root)), ops)

    def _weighed(self, values: list[Int], ops: list[RmsTable]) -> Mapping[str, Wire]:
        """Drop the root's fraction, multiply by the weights, drop theirs, saturate."""
        at = values[0].at
        assert at is not None
        down, last = (
            self.counters.by_job(self.each(v), stage)
            for v, stage in (
                ([op.root_shift for op in ops], at), ([op.weight_shift for op in ops], at + 2),
            )
        )  # fmt: skip
        weights = [self.pipe.cut(w) for w in self._weights(at)]
        normal = [self.pipe.cut(shift_floor(v, down)) for v in values]
        products = [self.pipe.cut(mul(v, w)) for v, w in zip(normal, weights, strict=True)]
        scaled = [shift_floor(v, last) for v in products]
        types = dict.fromkeys(self.out_type(p) for p in self.own)
        return self.given(
            {t: [self.pipe.cut(within(saturate(v, t.dtype), t)) for v in scaled] for t in types}
        )

    def _op(self, p: Passing) -> RmsTable:
        op = same_in_all(p.ops, lambda o: o, p.job.task.nodes[0])
        assert isinstance(op, RmsTable)
        return op

    def _tables(self) -> tuple[Table, list[list[int]]]:
        """Return all tables, one after another, and which segment each job's begins with."""
        known: dict[bytes, int] = {}
        rows: list[np.ndarray] = []
        places = []
        for p in self.own:
            own = []
            for values in self.plan.folded.constants(p.job.task.nodes[0], 1):
                if rows and values.shape[1] != rows[0].shape[1]:
                    raise UserError(
                        f"node {p.job.task.nodes[0]!r}: tables of {values.shape[1]} and of "
                        f"{rows[0].shape[1]} entries a segment in unit {self.plan.unit.name}; give "
                        "all as many"
                    )
                if values.tobytes() not in known:
                    known[values.tobytes()] = sum(r.shape[0] for r in rows)
                    rows.append(values)
                own.append(known[values.tobytes()])
            places.append(own)
        return Table(np.concatenate(rows)), places

    def _weights(self, stage: int) -> list[Int]:
        """Return the weight of each lane's element, row by row as they leave."""
        wide = len(self.lanes)
        types = [self.plan.folded.type(self._weight_name(p)) for p in self.own]
        lo, hi = min(min(t.lo, 0) for t in types), max(max(t.hi, 0) for t in types)
        dtype = max(t.dtype for t in types)
        by_name = {p.job.task.name: p for p in self.own}
        rows = []
        for job, turn in in_order(self.plan):
            p = by_name.get(job.task.name)
            if p is None:
                continue
            every = self.plan.folded.constants(job.task.nodes[0], 2)
            own = every[turn if len(every) > 1 else 0]
            flat = np.zeros(p.steps * wide, np.int64)
            flat[: p.job.task.span] = np.tile(own, p.job.task.span // own.size)
            rows.append(packed(flat.reshape(p.steps, wide), dtype.bits))
        words = Words.join(rows)
        at, _ = ring(len(words), self.counters.later(self.emits, stage, 0))
        rom = pyrtl.RomBlock(
            words.bits, len(at), words.integers(), "weights", asynchronous=True,
            pad_with_zeros=True,
        )  # fmt: skip
        word = pyrtl.WireVector(words.bits)
        word <<= rom[at]
        like, each = TensorType(dtype, (), lo, hi), dtype.bits
        return [of_bits(word[k * each : (k + 1) * each], like, stage) for k in range(wide)]

    def _weight_name(self, p: Passing) -> str:
        return self.plan.folded.skeleton.sketch.node(p.job.task.nodes[0]).inputs[2]


class _Centred(Vectors):
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
        mean = mean_of(total, scale, s, self.pipe)
        assert mean.at is not None
        middles = self.held(mean)
        end = stages("center", self.plan.unit.lanes) - 1
        lo, hi = min(p.out.lo for p in self.own), max(p.out.hi for p in self.own)
        like = TensorType(self.own[0].out.dtype, (), lo, hi)
        # The stages that are left are for the synthesis to spread the product over.
        values = [
            self.pipe.until(within(sub(self.pipe.cut(x), middle), like), end)
            for x, middle in zip(self.read(mean.at), middles, strict=True)
        ]
        return self.given({self.out_type(p): values for p in self.own})
