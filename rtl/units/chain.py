"""Evaluate a chain of operators in wires, row by row, in the lanes of a unit.

Each node is evaluated for the elements that are asked for, row by row: those that step along with
the span as it is stepped through, those that wait for a group (its codes, what they scale) in the
rows and places in which they leave. Values that are made in other rows or places than they are
wanted are kept meanwhile (`rtl/units/store.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyrtl

from cosim.design.sketch import SketchNode
from cosim.design.wires import operand_map, result_map
from cosim.ir.errors import InternalError, UserError
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType
from cosim.ops import (
    Contract,
    Dequantize,
    GroupRead,
    GroupScale,
    GroupShift,
    Pwl,
    PwlLog,
    Quantize,
    ShiftDecay,
    StepTable,
)
from rtl.numerics import Int, Wire, absolute, constant, of_bits, to_bits
from rtl.ops import WIRES, pwl_log
from rtl.ops.contract import products
from rtl.ops.group_scale import code_of
from rtl.ops.group_shift import shift_of
from rtl.ops.lanes import Lanes, Operand, Table, array_of, each, lanes, table_of, within
from rtl.ops.pwl import interpolated, segments
from rtl.pipe import Pipe, latest
from rtl.units.plan import UnitPlan, same_in_all
from rtl.units.read import read_out
from rtl.units.reduce import Pieces, pieces_of, reduced
from rtl.units.reducers import largest_magnitude, total, winner
from rtl.units.rows import Laid, Walk
from rtl.units.stages import depths, levels_of, stages_of
from rtl.units.store import Source, choose, gather

# Operators whose results are fewer than the elements that they step through.
REDUCING = ("group_scale", "group_shift", "argmax", "contract", "group_read")
# Operators that look things up, and by which operands.
TABLES = {Pwl: (1, 2), PwlLog: (1, 2), StepTable: (1, 2)}


class Chain:
    """Evaluate the nodes of one job in wires."""

    def __init__(self, plan: UnitPlan, walk: Walk, beats: Mapping[str, Wire]) -> None:
        """Begin with the beats popped by FIFO."""
        self.plan, self.walk, self.beats = plan, walk, beats
        self.own: Laid = walk.own
        self.job = self.own.job
        self.folded, self.sketch = plan.folded, self.job.flow.skeleton.sketch
        self.views = self.job.flow.skeleton.views
        self.stream = self.job.flow.stream
        self.depths = depths(plan)
        self.pipe = Pipe()
        self.numbers: dict[tuple[tuple[int, ...], int], Int] = {}
        self.known: dict[tuple[str, bytes], Lanes] = {}
        self.sources: dict[str, Source] = {}
        self.reductions: dict[str, tuple[Lanes, np.ndarray]] = {}

    def pushes(self, latency: int) -> dict[str, Wire]:
        """Return the beats that leave by FIFO, `latency - 1` stages after their firing."""
        found: dict[str, Wire] = {}
        for fifo in self.job.out:
            elements = self.own.pushed(fifo.value)
            values = self.root(fifo.value, elements)
            used = np.any(elements >= 0, axis=0)
            dtype = self.folded.type(fifo.value).dtype
            found[fifo.name] = self.beat(values, used, dtype, latency - 1)
        return found

    def beat(self, values: Lanes, used: np.ndarray, dtype: IntType, stage: int) -> Wire:
        """Pack values into a beat at a stage, the first one lowest."""
        words = [
            to_bits(self.pipe.until(v, stage), dtype) if there else pyrtl.Const(0, dtype.bits)
            for v, there in zip(values, used, strict=True)
        ]
        return pyrtl.concat_list(words)

    def root(self, root: str, elements: np.ndarray) -> Lanes:
        """Return the elements [rows, places] of a root, each row's in its lanes."""
        key = (root, elements.tobytes())
        if key not in self.known:
            inside = root in self.job.task.nodes
            self.known[key] = self.node(root, elements) if inside else self.popped(root, elements)
        return self.known[key]

    def operand(self, name: str, elements: np.ndarray) -> Lanes:
        """Return the elements of an operand, wired from one root or several."""
        view = self.views[name]
        if view.element is None:
            return self.root(view.roots[0], elements)
        there = elements >= 0
        wanted = np.where(there, view.element[elements], -1)
        if view.root is None or len(view.roots) == 1:
            return self.root(view.roots[0], wanted)
        number = np.where(there, view.root[elements], -1)
        parts = [self.root(r, np.where(number == k, wanted, -1)) for k, r in enumerate(view.roots)]
        return self.joined(parts, number)

    def joined(self, parts: list[Lanes], number: np.ndarray) -> Lanes:
        """Choose for each lane, row by row, from which root it comes."""
        at = latest([x for part in parts for x in part]) or 0
        aligned = [[self.pipe.until(x, at) for x in part] for part in parts]
        lane = np.broadcast_to(np.arange(number.shape[1]), number.shape)
        keys = np.stack([np.maximum(number, 0), lane], axis=-1)
        values = choose(self.walk, keys, number >= 0, at, lambda k: aligned[k[0]][k[1]])
        return lanes(values, (len(values),))

    def popped(self, root: str, elements: np.ndarray) -> Lanes:
        """Return elements of a value that is popped."""
        (fifo,) = [f for f in self.job.into if f.value == root]
        passage = self.job.flow.passage(fifo)
        maker = self.job.flow.skeleton.task(fifo.maker)
        emitted = type(self.stream).of(self.job.flow.skeleton, maker).emission(root)
        place = np.empty(emitted.size, np.int64)
        place[emitted] = np.arange(emitted.size)
        number = np.cumsum(passage.carried(fifo.beat)) - 1
        if root not in self.sources:
            rows = np.flatnonzero(self.own.rows.pops[fifo.name])
            words = self.cut_up(self.beats[fifo.name], self.folded.type(root), fifo.beat)
            self.sources[root] = Source(
                self.walk, words, self.walk.control.pops[fifo.name], rows, 0
            )
        there = elements >= 0
        at = np.where(there, place[elements], -1)
        beat = np.where(there, number[at // fifo.beat], -1)
        return _array(gather(self.sources[root], beat, np.where(there, at % fifo.beat, 0)))

    def cut_up(self, beat: Wire, type_: TensorType, count: int) -> list[Int]:
        """Cut a beat into its elements."""
        bits = type_.dtype.bits
        return [of_bits(beat[n * bits : (n + 1) * bits], type_) for n in range(count)]

    def node(self, name: str, elements: np.ndarray) -> Lanes:
        """Return elements of a node's result."""
        node = self.sketch.node(name)
        if node.op.name in REDUCING:
            if name not in self.reductions:
                self.reductions[name] = self.reduction(node)
            values, layout = self.reductions[name]
        elif self.in_step(name):
            layout = self.own.stepped
            if np.array_equal(layout, elements):
                return self.applied(node, layout)
            values = self.root(name, layout)
        else:
            return self.applied(node, elements)
        return self.moved(name, values, layout, elements)

    def in_step(self, name: str) -> bool:
        """Tell whether each element of a node's result is complete with the row that takes it."""
        wide = self.own.lanes
        ready, position = self.stream.ready[name], self.stream.position
        return bool(np.array_equal(ready // wide, position // wide))

    def moved(self, name: str, values: Lanes, layout: np.ndarray, elements: np.ndarray) -> Lanes:
        """Bring elements from the rows and lanes in which they are made to those asked for."""
        if np.array_equal(layout, elements):
            return values
        at = latest(list(values)) or 0
        rows = np.flatnonzero((layout >= 0).any(axis=1))
        if name not in self.sources:
            comes = np.zeros(self.own.count, np.int64)
            comes[rows] = 1
            flag = self.walk.by_row(comes, None, at)
            fire = self.walk.fire(at)
            arrives = fire & flag.wire if flag.lo != flag.hi else fire
            words = [self.pipe.until(v, at) for v in values]
            self.sources[name] = Source(self.walk, words, arrives, rows, at)
        size = max(int(layout.max()), int(elements.max())) + 1
        beat, place = (np.full(size + 1, -1, np.int64) for _ in range(2))
        for n, row in enumerate(rows):
            used = layout[row] >= 0
            beat[layout[row][used]] = n
            place[layout[row][used]] = np.flatnonzero(used)
        return _array(gather(self.sources[name], beat[elements], np.maximum(place[elements], 0)))

    def applied(self, node: SketchNode, elements: np.ndarray) -> Lanes:
        """Evaluate an elementwise node for elements of its result."""
        used = (elements >= 0).any(axis=0)
        if not used.all():
            found = np.full(used.size, constant(0), object)
            found[used] = self.evaluated(node, elements[:, used])
            return found
        return self.evaluated(node, elements)

    def evaluated(self, node: SketchNode, elements: np.ndarray) -> Lanes:
        """Evaluate an elementwise node in lanes of which each is used in some row."""
        flowing: dict[int, Lanes] = {}
        for k, name in enumerate(node.inputs):
            if name in self.sketch.states:
                flowing[k] = self.state(name, self.mapped(node, k, elements))
            elif name not in self.sketch.stored:
                flowing[k] = self.operand(name, self.mapped(node, k, elements))
        at = latest([x for values in flowing.values() for x in values]) or 0
        operands: list[Operand] = []
        for k in range(len(node.inputs)):
            if k in flowing:
                operands.append(_array([self.pipe.until(x, at) for x in flowing[k]]))
            elif k in TABLES.get(type(node.op), ()):
                operands.append(self.table(node, k))
            else:
                operands.append(self.constants(node, k, elements, at))
        return self.wires(node, operands, elements.shape[1], at)

    def wires(self, node: SketchNode, operands: list[Operand], width: int, at: int) -> Lanes:
        """Call the operator's wires with lanes; check that they take the stages they should."""
        if node.op.name not in WIRES:
            raise UserError(
                f"node {node.name!r}: no wires in unit {self.plan.unit.name} for operator "
                f"{node.op.name!r}; keep it out of the graph, or add it to rtl/units/chain.py"
            )
        out = self.type_in_lanes(node.name, width)
        if isinstance(node.op, Pwl | PwlLog):
            made = self.interpolated(node, operands, out)
        else:
            made = WIRES[node.op.name](self.variant(node), operands, out, self.pipe)
        end = at + stages_of(self.plan, node)
        return self.checked(node, made.reshape(-1), end)

    def type_in_lanes(self, name: str, width: int) -> TensorType:
        """Return the type of a value, as many elements as there are lanes."""
        return replace(self.folded.type(name), shape=(width,))

    def checked(self, node: SketchNode, values: Lanes, end: int) -> Lanes:
        """Check that values come at the stage that the cycle model counts, and not later."""
        got = latest(list(values))
        if got is not None and got > end:
            raise InternalError(f"node {node.name!r} comes at stage {got}, not at {end}")
        return _array([self.pipe.until(v, end) for v in values])

    def variant(self, node: SketchNode) -> Op:
        """Return the operator for lanes; raise UserError where layers differ in it."""
        op = same_in_all(self.folded.ops(node.name), lambda o: o, node.name)
        assert isinstance(op, Op)
        if isinstance(op, Quantize | Dequantize | ShiftDecay):
            return replace(op, group=1)  # each lane has its own code
        return op

    def mapped(self, node: SketchNode, k: int, elements: np.ndarray) -> np.ndarray:
        """Return the elements of operand k that elements of the span need."""
        picked = operand_map(self.sketch, node, k)
        return elements if picked is None else np.where(elements >= 0, picked[elements], -1)

    def constants(self, node: SketchNode, k: int, elements: np.ndarray, stage: int) -> Lanes:
        """Return a constant operand at a stage, row by row and layer by layer."""
        shape = self.sketch.types[node.inputs[k]].shape
        wanted = self.mapped(node, k, elements)
        flat = np.stack([
            np.broadcast_to(c, shape).reshape(-1) for c in self.folded.constants(node.name, k)
        ])  # fmt: skip
        return self.looked_up(flat, wanted, stage)

    def looked_up(self, flat: np.ndarray, wanted: np.ndarray, stage: int) -> Lanes:
        """Return elements of constants [layers or 1, size]; one lane's are [turns, rows]."""
        tables = [np.where(w >= 0, flat[:, w], 0) for w in wanted.T]
        return _array(self.walk.tables(tables, [w >= 0 for w in wanted.T], stage))

    def table(self, node: SketchNode, k: int) -> Table:
        """Return a table operand: one for all layers, or a page for each that differs."""
        every = self.folded.constants(node.name, k)
        pages = {t.tobytes(): t for t in every}
        if len(pages) == 1:
            return Table(every[0])
        values = np.zeros((len(pages), max(t.size for t in every)), np.int64)
        for page, table in zip(values, pages.values(), strict=True):
            page[: table.size] = table
        numbers = [list(pages).index(t.tobytes()) for t in every]
        return Table(values, lambda stage: self.by_layer(tuple(numbers), stage).wire)

    def by_layer(self, values: Sequence[int], stage: int | None) -> Int:
        """Return at a stage the number of the layer there, out of one for each."""
        key = (tuple(values), stage or 0)
        if key not in self.numbers:
            column = np.repeat(np.array(values)[:, None], self.own.count, axis=1)
            self.numbers[key] = self.walk.tables([column], [None], stage or 0)[0]
        return self.numbers[key]

    def interpolated(self, node: SketchNode, operands: list[Operand], out: TensorType) -> Lanes:
        """Interpolate in tables whose segments and guard bits may differ by layer."""
        if isinstance(node.op, PwlLog):
            logs = [op for op in self.folded.ops(node.name) if isinstance(op, PwlLog)]
            same_in_all(logs, lambda op: (op.mantissa_bits, op.dtype), node.name)  # type: ignore[attr-defined]
            return pwl_log.by_layer(logs, operands, out, self.pipe, self.by_layer)
        ops = [op for op in self.folded.ops(node.name) if isinstance(op, Pwl)]
        same_in_all(ops, lambda op: op.dtype, node.name)  # type: ignore[attr-defined]
        sizes = [t.size for t in self.folded.constants(node.name, 1)]
        x, base, slope = array_of(operands[0]), table_of(operands[1]), table_of(operands[2])

        def lane(x: Int) -> Int:
            where = segments(ops, sizes, (x.lo, x.hi), self.by_layer)
            return interpolated(ops[0], where, x, base, slope, out, self.pipe)

        return each(lane, x)

    def state(self, name: str, elements: np.ndarray) -> Lanes:
        """Return elements of a state; a plain chain has none."""
        raise InternalError(
            f"{elements.shape[1]} lanes of state {name!r}: {self.plan.unit.name} keeps no states"
        )

    def reduction(self, node: SketchNode) -> tuple[Lanes, np.ndarray]:
        """Return a reducing node's results, and in which rows and places they come."""
        end = (latest(self.operands_of(node)) or 0) + stages_of(self.plan, node)
        if isinstance(node.op, GroupRead):
            made, layout = read_out(self, node)
            return self.checked(node, made, end), layout
        stepped = self.own.stepped
        into = result_map(self.sketch, node)
        size = self.sketch.types[node.name].size
        assert into is not None
        runs = np.where(stepped >= 0, into[stepped], -1)
        pieces = pieces_of(runs, np.bincount(into, minlength=size), self.job.task.name)
        out = self.folded.type(node.name)
        totals = [within(v, out) for v in self.totals(node, pieces)]
        values = self.checked(node, _array(totals), end)
        return values, pieces.finished

    def operands_of(self, node: SketchNode) -> list[Int]:
        """Return what a reducing node takes, in its steps."""
        return [
            x for k, name in enumerate(node.inputs)
            for x in self.operand(name, self.mapped(node, k, self.own.stepped))
        ]  # fmt: skip

    def totals(self, node: SketchNode, pieces: Pieces) -> list[Int]:
        """Return what each tree of a reducing node gives."""
        op = self.variant(node)
        inputs = [
            self.operand(name, self.mapped(node, k, self.own.stepped))
            for k, name in enumerate(node.inputs)
        ]
        levels = levels_of(self.plan, node)
        type_ = self._type_of(node.inputs[0])
        if isinstance(op, Contract):
            a, b = (_array(self.pipe.align(*x)) for x in inputs)
            at = latest([*a, *b]) or 0
            a, b = (_array([self.pipe.until(v, at) for v in x]) for x in (a, b))
            terms = list(products(a, b, self.pipe))
            rule = total(self.folded.type(node.name), levels)
            return [e[0] for e in reduced(self.walk, terms, pieces, rule, self.pipe)]
        x = _array(self.pipe.align(*inputs[0]))
        if op.name == "argmax":
            held = [self.pipe.cut(v) for v in x]
            rule = winner(type_, self.sketch.types[node.inputs[0]].shape[-1], levels)
            return [e[1] for e in reduced(self.walk, held, pieces, rule, self.pipe)]
        assert isinstance(op, GroupScale | GroupShift)
        sizes = list(x)
        if levels:
            sizes = list(each(lambda v: self.pipe.cut(absolute(v)), x))
        rule = largest_magnitude(type_, levels)
        tops = [e[0] for e in reduced(self.walk, sizes, pieces, rule, self.pipe)]
        if isinstance(op, GroupScale):
            return [code_of(op, top, self.pipe) for top in tops]
        return [shift_of(op, top, self.pipe) for top in tops]

    def _type_of(self, operand: str) -> TensorType:
        roots = self.views[operand].roots
        types = [self.folded.type(r) for r in roots]
        return replace(types[0], lo=min(t.lo for t in types), hi=max(t.hi for t in types))


def _array(values: list[Int] | tuple[Int, ...]) -> Lanes:
    return lanes(list(values), (len(values),))
