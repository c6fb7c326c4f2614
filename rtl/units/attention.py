"""Build an attention unit: caches, scores, the online softmax, weighed values, the division.

Stages of a row, with a tree of L levels over the channels of a chunk:
    0         the token's key is written; a key and the queries are read
    1         products, their tree, and the sum over a key's chunks: a score at 3 + L
    3 + L     the exponent (4), its octave (1), the running maximum (1)
    9 + L     the top of a tile; from here on the row does what a tile ago was scored: a weight (4);
              meanwhile the token's value is written, and a value read
    13 + L    products (1), the sum over a tile's keys (1), added to the tiles before (1)
    16 + L    the division (12)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pyrtl

from cosim.design.attention import AttentionShape, attention_rows, attention_shape, written_rows
from cosim.design.kinds import ATTENTION_STAGES, OUTPUT_STAGES, STAGES, tree_stages
from cosim.design.sketch import SketchNode
from cosim.ir.errors import InternalError
from cosim.ir.types import TensorType, smallest_type
from cosim.ops import Attend, Count, Divide
from cosim.ops.attend import LOWEST, MOST_WEIGHT, SUM_BITS
from rtl.numerics import (
    Int,
    Wire,
    add,
    bounded,
    clip,
    constant,
    maximum,
    mul,
    select,
    sub,
    to_bits,
)
from rtl.ops.attend import WEIGHTS, exponent, octave, rounded, weight
from rtl.ops.divide import numerator, reciprocal_of
from rtl.ops.lanes import Table, rescaled, tree
from rtl.ops.masks import flag
from rtl.pipe import Pipe, delayed
from rtl.streams import Stream
from rtl.units.fetch import Fetch, Need
from rtl.units.fifo import Fifo, ring
from rtl.units.nests import Kept, Late, Nest
from rtl.units.passing import waiting
from rtl.units.plan import UnitPlan, same_in_all
from rtl.units.rows import only_job
from rtl.units.runs import runs_of
from rtl.units.schedule import Schedule
from rtl.units.seen import Seen
from rtl.units.shell import Control, attach

# Exponents that wait for the top of their tile, beside a tile: those under way meanwhile.
UNDER_WAY = 4


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach the unit's actor in the open block; raise UserError where layers differ."""
    job = only_job(plan)
    shape = attention_shape(plan.folded.skeleton, job.task, plan.unit)
    rows = attention_rows(job.flow, shape)
    passes = shape.groups * shape.pass_rows
    count = rows.is_step.size
    ends = np.arange(count) - (count - passes - shape.lag)
    marks = {
        "writes": rows.is_step & (ends < 0),
        "scores": (ends >= 0) & (ends < passes),
        "values": ends >= shape.lag,
    }
    runs = runs_of(rows.pops, rows.pushes, marks, latency_of(shape))
    parts = {"before": (runs, (), ()), "block": ((), runs, ()), "after": ((), (), runs)}
    turns = plan.turns if job.task.part == "block" else 1
    schedule = Schedule(*parts[job.task.part], turns)

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        return _Datapath(plan, shape, turns, control, beats).outputs()

    attach(schedule, into, queues, datapath)


def latency_of(shape: AttentionShape) -> int:
    """Return the cycles from a row to its results."""
    return ATTENTION_STAGES + tree_stages(shape.chunk) + STAGES["divide"] + OUTPUT_STAGES


class _Datapath:
    def __init__(
        self,
        plan: UnitPlan,
        shape: AttentionShape,
        turns: int,
        control: Control,
        beats: Mapping[str, Wire],
    ) -> None:
        self.plan, self.shape, self.control, self.turns = plan, shape, control, turns
        self.pipe = Pipe()
        self.job = only_job(plan)
        self.levels = tree_stages(shape.chunk)
        self.node, op = self._node(Attend)
        self.last_node, divide = self._node(Divide)
        assert isinstance(op, Attend)
        assert isinstance(divide, Divide)
        self.op, self.divide = op, divide
        fire, sizes = control.fire, (shape.chunks, shape.tile, shape.places // shape.tile)
        self.writes = fire & control.marks["writes"]
        self.written = Nest(self.writes, (shape.chunks, shape.groups))
        self.scored = Nest(fire & control.marks["scores"], (*sizes, shape.groups))
        self.valued = Nest(fire & control.marks["values"], (*sizes, shape.groups))
        self.fetch = Fetch(control, beats, pyrtl.Const(0, 1), self._write_step())
        self.seen = Seen(self._limit(), shape.places, self._token_ends())
        late = Late()
        self.later, self.when = late.later, late.when

    def outputs(self) -> Mapping[str, Wire]:
        """Return the beat of each FIFO: channels of a chunk, of each the heads that share a key."""
        exponents, shown = self._exponents()
        tops, rises = self._tops([octave(t, shown, self.pipe) for t in exponents])
        weights, counts = self._weights(exponents, shown, tops)
        values = self._values(counts)
        heads = []
        for w, rise in zip(weights, rises, strict=True):
            heads.append(self._divided(self._sums(w, values, rise)))
        out = self.plan.folded.type(self.last_node.name)
        if {x.at for head in heads for x in head} != {latency_of(self.shape) - 1}:
            raise InternalError(f"results of stage {heads[0][0].at} in {self.plan.unit}")
        beat = [to_bits(head[k], out.dtype) for k in range(self.shape.chunk) for head in heads]
        return {f.name: pyrtl.concat_list(beat[: f.beat]) for f in self.job.out}

    def _node(self, kind: type) -> tuple[SketchNode, Attend | Divide]:
        """Return the node of an operator, which is the same in all layers."""
        sketch = self.plan.folded.skeleton.sketch
        node = next(n for n in map(sketch.node, self.job.task.nodes) if isinstance(n.op, kind))
        op = same_in_all(self.plan.folded.ops(node.name), lambda o: o, node.name)
        assert isinstance(op, Attend | Divide)
        return node, op

    def _limit(self) -> int:
        """Return where the count of tokens ends that the keys' positions are."""
        graph = self.plan.folded.graph
        by_name = {n.name: n for n in graph.nodes}
        count = by_name[graph.states[self.node.inputs[3]].next].op
        assert isinstance(count, Count)
        return count.limit

    def _token_ends(self) -> Wire:
        """Return the flag of the last row of a token, in the last layer."""
        ends = self.valued.step
        for last in self.valued.last:
            ends = ends & last
        if self.turns > 1:
            ends = ends & (self.control.loop == self.turns - 1)
        return ends

    def _write_step(self) -> Wire:
        """Return the number of the row that brings a chunk in."""
        return ring(self.shape.writes, self.writes)[0]

    def _need(self, operand: str, elements: np.ndarray) -> list[Int]:
        rows, type_ = written_rows(self.job.flow, self.shape), self.plan.folded.type(operand)
        return self.fetch.lanes([Need(self.job.flow, operand, elements, rows, type_)])

    @cached_property
    def _channels(self) -> np.ndarray:
        """Return [writes, chunk]: the elements of a key that each row brings in."""
        s = self.shape
        return np.arange(s.groups * s.channels).reshape(s.writes, s.chunk)

    def _queries(self) -> list[list[Int]]:
        """Keep the queries; return those of this row at stage 1: [head, channel]."""
        s, name = self.shape, self.node.inputs[0]
        size = (s.groups, s.share, s.chunks, s.chunk)
        at = np.arange(s.heads * s.channels).reshape(size).swapaxes(1, 2).reshape(s.writes, -1)
        fresh = self._need(name, at)
        read = self._address(self.scored, [0, 3], 0)
        word = self._memory(fresh, self._address(self.written, [0, 1], 0), read, 0, "queries")
        return [word[h * s.chunk : (h + 1) * s.chunk] for h in range(s.share)]

    def _cached(self, slot: int, nest: Nest, stage: int) -> list[Int]:
        """Write this token's row of keys (1) or values (2); return a chunk, a stage later."""
        written = self.plan.folded.skeleton.sketch.node(self.node.inputs[slot])
        fresh = self._need(written.inputs[1], self._channels)
        type_ = self.plan.folded.type(written.name)
        fresh = [bounded(x, type_.lo, type_.hi) for x in fresh]
        turn = [self.later(self.control.loop, stage)]
        at = [self.later(self.seen.place, stage)]
        write = pyrtl.concat(*turn, *at, self._address(self.written, [0, 1], stage))
        index = self.later(nest.whole(1, self.shape.places), stage)
        read = pyrtl.concat(*turn, index, self._address(nest, [0, 3], stage))
        return self._memory(fresh, write, read, stage, ("", "keys", "values")[slot])

    def _address(self, nest: Nest, which: Sequence[int], stage: int) -> Wire:
        """Return some of a nest's counters side by side at a stage, the first one lowest."""
        return pyrtl.concat(*[self.later(nest.at[k], stage) for k in reversed(which)])

    def _memory(
        self, fresh: list[Int], write: Wire, read: Wire, stage: int, name: str
    ) -> list[Int]:
        """Keep words of a write row; return the word read, registered, one stage later."""
        word = pyrtl.concat_list([x.wire for x in fresh])
        memory = pyrtl.MemBlock(len(word), len(write), name, asynchronous=True)
        enable = self.when(self.writes, stage)
        memory[write] <<= pyrtl.MemBlock.EnabledWrite(self.later(word, stage), enable)
        out, low, found = pyrtl.Register(len(word)), 0, []
        out.next <<= memory[read]
        for x in fresh:
            found.append(Int(out[low : low + x.bits], x.lo, x.hi, stage + 1))
            low += x.bits
        return found

    def _exponents(self) -> tuple[list[Int], Int]:
        """Return the exponent of each head's score, and the flag that its key counts."""
        queries, key = self._queries(), self._cached(1, self.scored, 0)
        start = 3 + self.levels
        scales = self._constants(4, start)
        shifts = self._constants(5, start)
        slopes = self._constants(6, start) if self.op.alibi else [None] * self.shape.share
        place = self.scored.whole(1, self.shape.places)
        far, shown = self.seen.masked(self.op.mask, place, self.scored.at[2], self.pipe)
        at = self.pipe.until(far, start) if self.op.alibi else None
        found = []
        for q, scale, shift, slope in zip(queries, scales, shifts, slopes, strict=True):
            terms = [self.pipe.cut(mul(a, b)) for a, b in zip(q, key, strict=True)]
            score = self._accumulated(tree(terms, add, self.pipe))
            found.append(exponent(score, scale, shift, slope, at, self.pipe))
        return found, self.pipe.until(shown, start + STAGES["attend"])

    def _accumulated(self, part: Int) -> Int:
        """Add up the chunks of a score."""
        assert part.at is not None
        lo, hi = (min(part.lo, 0) * self.shape.chunks, max(part.hi, 0) * self.shape.chunks)
        register = pyrtl.Register(smallest_type(lo, hi).bits)
        kept = Int(register, lo, hi, part.at)
        opens = self.later(self.scored.at[0], part.at) == 0
        total = bounded(add(select(opens, constant(0), kept), part), lo, hi)
        moves = self.when(self.scored.step, part.at)
        register.next <<= pyrtl.select(moves, total.wire, register)
        return Int(register, lo, hi, part.at + 1)

    def _constants(self, slot: int, stage: int) -> list[Int]:
        """Return a constant of each head that reads this row's key."""
        s, every = self.shape, self.plan.folded.constants(self.node.name, slot)
        groups = pyrtl.concat(
            self.later(self.control.loop, stage), self.later(self.scored.at[3], stage)
        )
        wide = 1 << len(self.scored.at[3])
        found = []
        for h in range(s.share):
            words = np.zeros((1 << len(self.control.loop), wide), np.int64)
            for turn in range(self.turns):
                own = every[turn if len(every) > 1 else 0]
                words[turn, : s.groups] = own.reshape(s.groups, s.share)[:, h]
            index = Int(groups, 0, words.size - 1, stage)
            found.append(Table(words.reshape(-1)).entry(index))
        return found

    @cached_property
    def top_stage(self) -> int:
        """Return the stage at which a row reads the top of its tile."""
        return 3 + self.levels + STAGES["attend"] + 2

    def _tops(self, octaves: list[Int]) -> tuple[list[Int], list[Int]]:
        """Return each head's top octave and how much it rose with the tile, as values see them."""
        at = self.top_stage - 1
        chunk, key = (self.later(last, at) for last in self.scored.last[:2])
        first = (self.later(self.scored.at[1], at) == 0) & (self.later(self.scored.at[2], at) == 0)
        moves = self.when(self.scored.step, at) & chunk
        ends = delayed(moves & key, 1, reset=0)
        opens = delayed(self.later(self.scored.at[2], at) == 0, 1)
        tops, rises = [], []
        for x in octaves:
            run = pyrtl.Register(x.bits)
            before = Int(run, x.lo, x.hi, x.at)
            most = bounded(select(first, x, maximum(before, x)), x.lo, x.hi)
            run.next <<= pyrtl.select(moves, most.wire, run)
            top = pyrtl.Register(x.bits)
            now, last = (Int(w, x.lo, x.hi, self.top_stage) for w in (run, top))
            step = sub(now, select(opens, constant(LOWEST), last))
            top.next <<= pyrtl.select(ends, run, top)
            rise = pyrtl.Register(step.bits)
            rise.next <<= pyrtl.select(ends, step.wire, rise)
            tops.append(last)
            rises.append(Int(rise, step.lo, step.hi, self.top_stage))
        return tops, rises

    def _weights(self, exponents: list[Int], shown: Int, tops: list[Int]) -> tuple[list[Int], Wire]:
        """Let exponents wait for their tile; return the weights of values, and who counts."""
        word = pyrtl.concat_list([shown.wire, *(t.wire for t in exponents)])
        assert shown.at is not None
        write = self.when(self.scored.step & self.scored.last[0], shown.at)
        read = self.when(self.valued.step & self.valued.last[0], self.top_stage)
        word = waiting(word, write, read, self.shape.tile + UNDER_WAY)
        counts, low = flag(word[0], self.top_stage), 1
        table, found = Table(WEIGHTS), []
        for t, top in zip(exponents, tops, strict=True):
            own = Int(word[low : low + t.bits], t.lo, t.hi, self.top_stage)
            found.append(weight(own, top, counts, table, self.pipe))
            low += t.bits
        return found, self.pipe.until(counts, self.top_stage + 4).wire

    def _values(self, counts: Wire) -> list[Int]:
        """Return the chunk of this row's value, 0 where its key does not count."""
        read = self._cached(2, self.valued, self.top_stage + 3)
        return [select(counts, x, constant(0)) for x in read]

    def _sums(self, w: Int, values: list[Int], rise: Int) -> list[Int]:
        """Add the weighed values, and the weights, of a pass up: a head's numerators and sum."""
        out = self.plan.folded.type(self.node.name)
        terms = [*(self.pipe.cut(mul(w, v)) for v in values), self.pipe.cut(w)]
        return [self._over_tiles(self._over_keys(term), rise, out) for term in terms]

    def _over_keys(self, term: Int) -> Int:
        """Add up the keys of a tile, for each chunk."""
        assert term.at is not None
        lo, hi = self.shape.tile * min(term.lo, 0), self.shape.tile * max(term.hi, 0)
        assert hi <= self.shape.tile * MOST_WEIGHT << SUM_BITS
        opens = self.later(self.valued.at[1], term.at) == 0
        kept = Kept(smallest_type(lo, hi).bits, self.later(self.valued.at[0], term.at),
                     self.shape.chunks)  # fmt: skip
        before = Int(kept.word, lo, hi, term.at)
        total = bounded(add(select(opens, constant(0), before), term), lo, hi)
        kept.write(total.wire, self.when(self.valued.step, term.at))
        return self.pipe.cut(total)

    def _over_tiles(self, part: Int, rise: Int, out: TensorType) -> Int:
        """Add a tile to those before, which are shifted by what the top rose."""
        assert part.at is not None
        chunk = self.valued.at[0]
        lo, hi = min(out.lo, 0), max(out.hi, 0)
        kept = Kept(
            smallest_type(lo, hi).bits, self.later(chunk, part.at - 2), self.shape.chunks,
            self.later(chunk, part.at),
        )  # fmt: skip
        by = self.pipe.until(self.pipe.cut(clip(rise, 0, SUM_BITS)), part.at - 2)
        before = rounded(Int(kept.word, lo, hi, part.at - 2), by, self.pipe)
        first = self.later(self.valued.at[2], part.at) == 0
        total = bounded(add(select(first, constant(0), before), part), lo, hi)
        ends = self.when(self.valued.step & self.valued.last[1], part.at)
        kept.write(total.wire, ends)
        return self.pipe.cut(total)

    def _divided(self, sums: list[Int]) -> list[Int]:
        """Divide a head's numerators by its sum."""
        out = self.plan.folded.type(self.last_node.name)
        r, cut, last = reciprocal_of(bounded(sums[-1], 0, sums[-1].hi), self.divide, self.pipe)
        found = []
        for value in sums[:-1]:
            short, by = self.pipe.align(numerator(value, cut, self.divide, self.pipe), r)
            found.append(rescaled(self.pipe.cut(mul(short, by)), last, out, self.pipe))
        return found
