"""Build a matrix unit: `lanes` rows at a time, `columns` products each a cycle.

The input comes in during the first group of rows; it is kept, one word a step, for the others. The
sum of a block of columns is multiplied by its scale, which has been made meanwhile out of the row's
multiplier and the activations' code, and added to the other blocks'; their sum goes to the row's
accumulator. All tasks share these products: narrower weights are sign-extended, and a task without
dynamic scales has the scale 1. The words are those of `rtl/units/product.py`.

Stages: 0 beats and words come in, 1 registered, 2 products, then the trees, with a register for the
scaled sums between them and the accumulator behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyrtl

from cosim.design.kinds import tree_stages
from cosim.design.plan import weights_of
from cosim.ir.errors import InternalError
from cosim.ir.types import TensorType, smallest_type
from rtl.numerics import (
    Int,
    Wire,
    add,
    bounded,
    constant,
    mul,
    of_bits,
    select,
    shift_left,
    to_bits,
)
from rtl.ops.dequantize import parts_of_code
from rtl.ops.lanes import tree
from rtl.pipe import Pipe, delayed
from rtl.streams import Stream
from rtl.units.fetch import Fetch, choose, table
from rtl.units.fifo import Fifo, ring
from rtl.units.multipliers import Multipliers
from rtl.units.plan import UnitPlan
from rtl.units.product import Product, block_of, runs, stages
from rtl.units.runs import schedule_of
from rtl.units.shell import Control, attach
from rtl.units.weights import Words, on_chip


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach the unit's actor in the open block; weights come in where there is a stream of them.

    Raise UserError where a layer's operator is not that of the others.
    """
    products = [Product(plan, job) for job in plan.jobs]
    streamed = weights_of(plan.unit) in into
    schedule = schedule_of(
        plan, {p.job.task.name: runs(p, n, streamed) for n, p in enumerate(products)}
    )

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        return _Datapath(plan, products, control, beats, streamed).outputs()

    attach(schedule, into, queues, datapath)


class _Datapath:
    def __init__(
        self,
        plan: UnitPlan,
        products: Sequence[Product],
        control: Control,
        beats: Mapping[str, Wire],
        streamed: bool,
    ) -> None:
        self.products, self.streamed, self.unit = products, streamed, plan.unit
        self.pipe = Pipe()
        self.columns, self.lanes = plan.unit.columns, plan.unit.lanes
        self.block = block_of(products, self.columns)
        self.job = control.marks["job"]
        self.multiplies = control.fire & control.marks["multiplies"]
        self.step, self.closes = self._steps()
        self.first = control.marks["first"]
        stream = weights_of(plan.unit)
        own = {name: beat for name, beat in beats.items() if name != stream}
        self.fetch = Fetch(control, own, self.job, self.step)
        self._moves: tuple[Wire, Wire] | None = None
        self._flags: dict[tuple[tuple[int, ...], int], Wire] = {}
        self.stream = delayed(beats[stream], 1) if streamed else None
        self.words: Mapping[int, Words] = {}
        if self.stream is not None:
            taken = control.fire & control.marks["scale"]
            self.multipliers = Multipliers.streamed(
                products, self.fetch, control.fire, taken, self.stream
            )
        else:
            self.words, groups = on_chip(plan)
            ends = self.multiplies & self.closes
            self.multipliers = Multipliers.on_chip(products, self.fetch, groups, ends)

    def outputs(self) -> Mapping[str, Wire]:
        """Return the beats of each FIFO."""
        activations, scales = self._activations()
        weights = self._weights()
        sums = [self._row(lane, activations, weights[lane], scales) for lane in range(self.lanes)]
        if {x.at for x in sums} != {stages(self.columns) - 1}:
            raise InternalError(f"sums of stage {sums[0].at}, not of {stages(self.columns) - 1}")
        found = {}
        for p in self.products:
            narrow = [to_bits(bounded(x, p.out.lo, p.out.hi), p.out.dtype) for x in sums]
            for fifo in p.job.out:
                found[fifo.name] = pyrtl.concat_list(narrow[: fifo.beat])
        return found

    def _steps(self) -> tuple[Wire, Wire]:
        """Count the steps of a group; return the count and the flag of the last one."""
        most = max(p.steps for p in self.products)
        bits = max(1, (most - 1).bit_length())
        step = pyrtl.Register(bits, reset_value=0)
        closes = step == table(self.job, [p.steps - 1 for p in self.products])
        after = pyrtl.select(closes, pyrtl.Const(0, bits), (step + 1).truncate(bits))
        step.next <<= pyrtl.select(self.multiplies, after, step)
        return step, closes

    def _activations(self) -> tuple[list[Int], list[tuple[Int, Int]]]:
        """Return the activations of each column, factor and exponent of each block, at stage 1."""
        lanes = self.fetch.lanes([p.need(0, self.streamed) for p in self.products])
        parts = self._codes()
        fresh = [*lanes, *(x for pair in parts for x in pair)]
        moving = [k for k, x in enumerate(fresh) if x.at is not None]
        word = pyrtl.concat_list([fresh[k].wire for k in moving])
        if any(p.groups > 1 for p in self.products):
            kept = _kept(word, self.multiplies & self.first, self.step)
            word = pyrtl.select(self.first, word, kept)
        word, low = delayed(word, 1), 0
        for k in moving:
            x = fresh[k]
            fresh[k] = Int(word[low : low + x.bits], x.lo, x.hi, 1)
            low += x.bits
        rest = fresh[len(lanes) :]
        return fresh[: len(lanes)], list(zip(rest[::2], rest[1::2], strict=True))

    def _codes(self) -> list[tuple[Int, Int]]:
        """Return factor and exponent of each block's scale of activations, at stage 0."""
        blocks = -(-self.columns // self.block)
        one = constant(1), constant(0)
        options = [[one] * len(self.products) for _ in range(blocks)]
        for m in sorted({p.op.mantissa_bits for p in self.products if p.op.act_group}):
            own = [p.op.act_group > 0 and p.op.mantissa_bits == m for p in self.products]
            needs = [
                p.need(3, self.streamed, self.block) if o else None
                for p, o in zip(self.products, own, strict=True)
            ]
            for block, code in enumerate(self.fetch.lanes(needs)):
                exponent, mantissa = parts_of_code(code, m)
                low = constant(0) if mantissa is None else mantissa
                pair = add(low, constant(1 << m)) if m else constant(1), exponent
                options[block] = [
                    pair if o else old for o, old in zip(own, options[block], strict=True)
                ]
        return [
            (self._by_job([f for f, _ in o], 0), self._by_job([e for _, e in o], 0))
            for o in options
        ]

    def _by_job(self, options: Sequence[Int], at: int) -> Int:
        """Choose what belongs to the job of a stage."""
        distinct = list({id(x): x for x in options}.values())
        if len(distinct) == 1:
            return distinct[0]
        lo, hi = min(x.lo for x in distinct), max(x.hi for x in distinct)
        if lo == hi:
            return distinct[0]
        numbers = tuple([id(d) for d in distinct].index(id(x)) for x in options)
        key = numbers, at
        if key not in self._flags:
            self._flags[key] = delayed(table(self.job, numbers), at)
        wires = [bounded(x, lo, hi).wire for x in distinct]
        return Int(choose(self._flags[key], wires), lo, hi, at)

    def _weights(self) -> list[list[Int]]:
        """Return the weights of each lane and column at stage 1."""
        kinds: dict[TensorType, list[int]] = {}
        for n, p in enumerate(self.products):
            w = p.types[1]
            # What a group or a step lacks is 0.
            like = TensorType(w.dtype, (), min(w.lo, 0), max(w.hi, 0))
            kinds.setdefault(like, []).append(n)
        words: dict[int, Wire] = {}
        for like in kinds:
            bits = like.dtype.bits
            if bits not in words:
                words[bits] = self._word(bits)

        def weight(place: int) -> Int:
            options: list[Int] = [constant(0)] * len(self.products)
            for like, numbers in kinds.items():
                bits = like.dtype.bits
                own = of_bits(words[bits][place * bits : (place + 1) * bits], like, 1)
                for n in numbers:
                    options[n] = own
            return self._by_job(options, 1)

        rows = range(0, self.lanes * self.columns, self.columns)
        return [[weight(at + c) for c in range(self.columns)] for at in rows]

    def _word(self, bits: int) -> Wire:
        """Return the beat of weights of so many bits that a step takes, at stage 1."""
        if self.stream is not None:
            return self.stream
        words = self.words[bits]
        own = [int(p.shape.weight_bits == bits) for p in self.products]
        at, _ = ring(len(words), self.multiplies & table(self.job, own)[0])
        rom = pyrtl.RomBlock(
            words.bits, len(at), words.integers(), f"weights{bits}", asynchronous=True,
            pad_with_zeros=True,
        )  # fmt: skip
        return delayed(rom[at], 1)

    def _row(
        self,
        lane: int,
        activations: Sequence[Int],
        weights: Sequence[Int],
        scales: Sequence[tuple[Int, Int]],
    ) -> Int:
        """Return the accumulator of a row, at the stage behind the sum of a step."""
        ends = [p.sum_bounds(min(self.block, self.columns)) for p in self.products]
        lo, hi = min(e[0] for e in ends), max(e[1] for e in ends)
        depth = tree_stages(self.block)
        blocks = []
        for number, start in enumerate(range(0, self.columns, self.block)):
            stop = min(start + self.block, self.columns)
            terms = [self.pipe.cut(mul(weights[c], activations[c])) for c in range(start, stop)]
            total = self.pipe.until(tree(terms, add, self.pipe), 2 + depth)
            scale = self._scale(lane, number, scales[number], depth)
            blocks.append(self.pipe.cut(bounded(mul(total, scale), lo, hi)))
        total = self.pipe.until(tree(blocks, add, self.pipe), 3 + tree_stages(self.columns))
        assert total.at is not None
        return self._accumulate(total)

    def _scale(self, lane: int, block: int, parts: tuple[Int, Int], depth: int) -> Int:
        """Return the scale of a row's block at the stage of its sum."""
        m = self.multipliers.of(lane, block * self.block)
        ends = [p.scale_bounds() for p in self.products]
        lo, hi = min(e[0] for e in ends), max(e[1] for e in ends)
        # A block of one column has no tree in whose time both could be done apart.
        late = max(depth, 1)
        m, factor, exponent = (self.pipe.until(x, late) for x in (m, *parts))
        product = mul(m, factor)
        if depth:
            product, exponent = self.pipe.cut(product), self.pipe.cut(exponent)
        return self.pipe.cut(bounded(shift_left(product, exponent), lo, hi))

    def _accumulate(self, total: Int) -> Int:
        lo, hi = min(p.out.lo for p in self.products), max(p.out.hi for p in self.products)
        nothing, like = constant(0), TensorType(smallest_type(lo, hi), (), lo, hi)
        register = pyrtl.Register(like.dtype.bits)
        kept = of_bits(register, like, total.at)
        moves, opens = self._when(total)
        following = bounded(add(select(opens, nothing, kept), total), lo, hi)
        register.next <<= pyrtl.select(moves, following.wire, register)
        return replace(kept, at=3 + tree_stages(self.columns) + 1)

    def _when(self, total: Int) -> tuple[Wire, Wire]:
        """Return the flags of a step, and of a group's first, at the stage of a sum."""
        if self._moves is None:
            assert total.at is not None
            moves = delayed(self.multiplies, total.at, reset=0)
            self._moves = moves, delayed(self.step == 0, total.at)
        return self._moves


def _kept(word: Wire, write: Wire, step: Wire) -> Wire:
    """Keep a word for each step; return the one of this step, from before the write."""
    memory = pyrtl.MemBlock(len(word), len(step), "kept", asynchronous=True)
    memory[step] <<= pyrtl.MemBlock.EnabledWrite(word, write)
    return memory[step]
