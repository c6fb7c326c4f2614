"""Prove that the wires of a vector unit give the graph's own integers, node by node.

The block is the one that is built: rows, operand stores, tables by layer, FIFOs. It runs on symbols
for two tokens (`rtl/unroll.py`), all beats at hand, all outputs taken. Wherever the chain has an
element of a value in a lane, that wire must equal, for all inputs, what the node's own meaning
gives on the graph's shapes; then a fresh variable stands for it, whose bounds are those that the
graph declares. So each step is as small as an operator, and the chain of steps is the whole. That
the graph's bounds hold is its type inference's to say.

How each step is settled: `proved` by z3; `exhausted`, where it hangs on one variable of at most
2^24 values and z3 does not end; `narrowed`: proved for inputs of fewer bits, and run at the full
width on samples; `sampled`: only that, where z3 does not end at any width.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from unittest import mock

import numpy as np
import z3

from cosim.ir.numerics import saturate
from cosim.ir.types import TensorType, signed_bits
from rtl.numerics import Int
from rtl.prove import Proof, prove, signed_value
from rtl.symbolic import Symbols
from rtl.terms import Term, Terms, Value, as_z3, evaluate, in_order
from rtl.units import vector
from rtl.units.chain import Chain
from rtl.units.plan import UnitPlan
from rtl.units.unit import unit_block, unit_ports
from rtl.unroll import Unrolled
from tests.rtl.units.check import name_in

TOKENS = 2
MOST_VALUES = 1 << 24
WIRING = {"slice", "reshape", "concat", "spread", "transpose"}
# Tables that z3 need not try: they hang on one input, and all of its values are soon run.
TABLES = {"pwl", "pwl_log", "step_table"}
NARROW_BITS = (12, 10, 8, 6, 5, 4, 3, 2)
MOST_NARROWED = 16
SAMPLES = 1 << 16
# An element of a root in one turn of one token.
Element = tuple[int, int, str, int]


@dataclass
class Step:
    """Hold one kind of step that a chain takes: how it is settled, how often, and for how long."""

    node: str
    op: str
    how: str = "proved"
    bits: int = 0
    places: int = 0
    kinds: int = 0
    seconds: float = 0.0


@dataclass
class ChainProof:
    """Prove one vector unit."""

    plan: UnitPlan
    limit_s: float = 20
    steps: dict[str, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Build the block, and note which wires hold which elements in which rows."""
        seen: list[Chain] = []

        class Seen(Chain):
            def __init__(self, *args, **named):
                super().__init__(*args, **named)
                seen.append(self)

        with mock.patch.object(vector, "Chain", Seen):
            self.block = unit_block(self.plan)
        (self.chain,) = seen
        self.own = self.chain.own
        self.part = self.own.job.task.part
        self.terms = Terms()
        self.inside = set(self.own.job.task.nodes)
        self.roots = {f.value for f in self.own.job.into} | self.inside
        self.settled: dict[tuple, str] = {}
        self.bounds: dict[str, tuple[int, int]] = {}
        self.variables: dict[int, set[str]] = {}
        self.kept: list[object] = []
        self.symbols: dict[tuple[int, str], np.ndarray] = {}
        self.held: dict[str, list[tuple[Int, np.ndarray, str]]] = {}
        for (root, raw), lanes in self.chain.known.items():
            rows = np.frombuffer(raw, np.int64).reshape(self.own.count, -1)
            self._hold(root, rows, lanes)
        for root, (lanes, rows) in self.chain.reductions.items():
            self._hold(root, rows, lanes)

    def _hold(self, root: str, rows: np.ndarray, lanes) -> None:
        for lane, value in enumerate(lanes):
            if value.at is not None:
                self.held.setdefault(value.wire.name, []).append((value, rows[:, lane], root))

    def run(self) -> list[Step]:
        """Settle all steps; raise AssertionError where one does not hold."""
        fired = self._fired()
        beats = self._play(fired)
        for fifo, words in beats.items():
            self._outputs(fifo, words)
        return list(self.steps.values())

    # ---- the run on symbols

    def _fired(self) -> dict[int, int]:
        """Return the number of each firing by its cycle: control alone, before any step."""
        fired: dict[int, int] = {}
        wire = self.chain.walk.control.fire.name
        for state in self._cycles({}):
            if state.known(state.value[wire], "a firing"):
                fired[state.cycle] = len(fired)
        assert len(fired) == TOKENS * self.own.turns * self.own.count
        return fired

    def _play(self, fired: dict[int, int]) -> dict[str, list[Value]]:
        ports = unit_ports(self.plan)
        found: dict[str, list[Value]] = {f.name: [] for f in self.own.job.out}
        now = [0]
        taps = {name: self._tap(name, fired, now) for name in self.held}
        for state in self._cycles(taps, now):
            for fifo, words in found.items():
                if state.known(state.value[f"{ports[fifo]}_valid"], fifo):
                    words.append(state.value[f"{ports[fifo]}_data"])
        return found

    def _cycles(self, taps, now: list[int] | None = None) -> Iterator[Unrolled]:
        state = Unrolled(self.block, self.terms, taps)
        ports = unit_ports(self.plan)
        left = {f: self._beats(f) for f in self.own.job.into}
        idle = 0
        while idle < 80:
            inputs: dict[str, Value] = {f"{ports[f.name]}_ready": 1 for f in self.own.job.out}
            for f, words in left.items():
                inputs[f"{ports[f.name]}_valid"] = int(bool(words))
                inputs[f"{ports[f.name]}_data"] = words[0] if words else 0
            if now is not None:
                now[0] = state.cycle
            state.settle(inputs)
            yield state
            idle += 1
            for f, words in left.items():
                if words and state.known(state.value[f"{ports[f.name]}_ready"], f.name):
                    words.pop(0)
                    idle = 0
            state.tick()

    def _beats(self, fifo) -> list[Value]:
        """Return the beats of a FIFO that comes in, as variables; what means nothing has its own."""
        found: list[Value] = []
        emitted = self._emitted(fifo)
        dtype = self.plan.folded.type(fifo.value).dtype
        for token in range(TOKENS):
            for turn in range(self.own.turns):
                for elements in emitted:
                    parts: list[tuple[Value, int]] = [
                        (self._variable((token, turn, fifo.value, e), dtype.bits), dtype.bits)
                        for e in elements
                    ]
                    rest = fifo.beat - len(elements)
                    if rest:
                        name = f"unknown {fifo.name} {token} {turn} {len(found)}"
                        bits = rest * dtype.bits
                        parts.append((self.terms.variable(name, bits), bits))
                    found.append(self.terms.concat(parts[::-1]))
        return found

    def _emitted(self, fifo) -> list[list[int]]:
        skeleton = self.plan.folded.skeleton
        maker = skeleton.task(fifo.maker)
        emitted = type(self.chain.stream).of(skeleton, maker).emission(fifo.value).tolist()
        carried = np.flatnonzero(self.own.job.flow.passage(fifo).carried(fifo.beat))
        return [emitted[n * fifo.beat : (n + 1) * fifo.beat] for n in carried]

    def _variable(self, element: Element, bits: int) -> Term:
        token, turn, root, number = element
        return self.terms.variable(f"{token}|{turn}|{root}|{number}", bits)

    # ---- the steps

    def _tap(self, name: str, fired: dict[int, int], now: list[int]) -> Callable[[Value], Value]:
        def tap(value: Value) -> Value:
            for held, rows, root in self.held[name]:
                number = fired.get(now[0] - held.at)
                if number is None:
                    continue
                turn_number, row = divmod(number, self.own.count)
                token, turn = divmod(turn_number, self.own.turns)
                if rows[row] >= 0:
                    element = (token, turn, root, int(rows[row]))
                    self._settle(element, value, held)
                    value = self._stands_for(element, held)
            return value

        return tap

    def _stands_for(self, element: Element, held: Int) -> Value:
        """Return the wire of a value that is now known to be an element."""
        dtype = self.plan.folded.type(element[2]).dtype
        whole = self._variable(element, dtype.bits)
        top = dtype.bits - 1
        if held.bits > dtype.bits and not dtype.signed:
            pad = held.bits - dtype.bits
            return self.terms.concat([(0, pad), (whole, dtype.bits)])
        bits = [min(k, top) for k in range(held.bits)]
        return self.terms.select(whole, bits, dtype.bits)

    def _settle(self, element: Element, value: Value, held: Int) -> None:
        token, turn, root, number = element
        label = root if root in self.inside else f"{root} (kept)"
        op = self._op(root, turn) if root in self.inside else "wires"
        step = self.steps.setdefault(label, Step(label, op))
        step.places += 1
        started = time.monotonic()
        renamed, names = self._renamed(value, token)
        own = f"{turn}|{root}|{number}"
        if own not in names and self._is_table(turn, root, number, names):
            self._settle_table(step, element, renamed, names, held)
            step.seconds += time.monotonic() - started
            self._note(own, held)
            return
        if own in names:  # settled before: kept since, or on its way to another lane
            t = self._graph_type(turn, root)
            bits = t.dtype.bits + 1
            target = signed_value(z3.BitVec(own, t.dtype.bits), bits, t.dtype.signed)
        else:
            target, bits = self._meaning(turn, root)[number], self._meaning(turn, root)[0].size()
        wide = max(bits, held.bits + 1)
        self._settle_kind(step, element, renamed, names, held, target, wide)
        step.seconds += time.monotonic() - started
        self._note(own, held)

    def _note(self, name: str, held: Int) -> None:
        """Keep the bounds that a variable's wires have been shown to hold."""
        lo, hi = self._bounds(name)
        self.bounds[name] = max(lo, held.lo), min(hi, held.hi)

    def _is_table(self, turn: int, root: str, number: int, names) -> bool:
        """Tell whether a step looks up the one element, of its own number, of what it is made of.

        Elements of a table's result hang on that of the same number alone: the operator's shapes.
        """
        if root not in self.inside or self._node(turn, root).op.name not in TABLES:
            return False
        source = self._root_of(turn, self._node(turn, root).inputs[0])
        if source is None:
            return False
        t = self._graph_type(turn, source)
        assert list(names) == [f"{turn}|{source}|{number}"], f"{root} {number} looks up {names}"
        return t.shape == self._graph_type(turn, root).shape and t.hi - t.lo < MOST_VALUES

    def _settle_table(self, step, element, value, names, held) -> None:
        (name,) = names
        t = self._narrowed(name)
        node = name_in(self.plan, element[2], element[1], self.part)
        key = ("table", id(value), node, t.lo, t.hi, held.lo, held.hi)
        if key in self.settled:
            return
        self.kept.append(value)
        self._run(element, value, held, names, {name: t}, None)
        self.settled[key] = step.how = "exhausted"
        step.kinds += 1

    def _bounds(self, name: str) -> tuple[int, int]:
        """Return the bounds of a variable: those declared, and those that its wires need."""
        t = self._type_of(name)
        assert t is not None
        return self.bounds.get(name, (t.lo, t.hi))

    def _renamed(self, value: Value, token: int) -> tuple[Value, dict[str, str]]:
        """Return a term over v0, v1, ..., in the order in which they come, and what they stand for.

        Terms that differ in their variables' names only are then the same.
        """
        names: dict[str, str] = {}
        made: dict[int, Value] = {}
        for t in in_order(value):
            if t.op == "var":
                own = str(t.param)
                if not own.startswith("unknown"):
                    when, own = own.split("|", 1)
                    assert int(when) == token, f"{own} is of token {when}, in token {token}"
                names[own] = f"v{len(names)}"
                made[id(t)] = self.terms.variable(names[own], t.bits)
                continue
            args = [a if isinstance(a, int) else made[id(a)] for a in t.args]
            made[id(t)] = self.terms.apply(t.op, t.param, args, t.arg_bits, t.bits)
        return (value if isinstance(value, int) else made[id(value)]), names

    def _settle_kind(self, step, element, value, names, held, target, wide) -> None:
        """Settle a step unless one alike has been: same wires, same meaning, same bounds."""
        turn, root = element[1], element[2]
        types = {n: self._narrowed(n) for n in names}
        if target.get_id() not in self.variables:
            self.variables[target.get_id()] = {str(v) for v in _variables(target)}
            self.kept.append(target)
        extra = sorted(self.variables[target.get_id()] - set(names))
        assert not extra, f"{step.node}: {element} hangs on {extra}, its wires do not"
        bits = {str(t.param): t.bits for t in in_order(value) if t.op == "var"}
        own = {n: z3.BitVec(v, bits[v]) for n, v in names.items()}
        pairs = [
            # A layer may declare a value narrower than the wires that serve all layers.
            (z3.BitVec(n, t.dtype.bits), z3.Extract(t.dtype.bits - 1, 0, own[n]))
            for n, t in types.items() if t is not None
        ]  # fmt: skip
        meant = z3.substitute(target, *pairs)
        bounds = tuple((names[n], t.lo, t.hi) for n, t in types.items() if t is not None)
        ends = self._bounds(f"{turn}|{root}|{element[3]}")
        key = (value if isinstance(value, int) else id(value), meant.get_id(), bounds,
               (held.lo, held.hi), ends)  # fmt: skip
        if key in self.settled:
            return
        self.kept += [value, meant]
        step.kinds += 1
        got = signed_value(as_z3(value, held.bits, {str(v): v for v in own.values()}),
                           wide, held.lo < 0)  # fmt: skip
        declared = self._graph_type(turn, root)
        ends = max(declared.lo, held.lo), min(declared.hi, held.hi)
        asked = _Asked(got, signed_value(meant, wide, True), ends, types, own)
        how, width = self._answer(step, element, value, held, asked, names)
        self.settled[key] = how
        order = ("proved", "exhausted", "narrowed", "sampled")
        if order.index(how) > order.index(step.how):
            step.how = how
        step.bits = min(step.bits or width, width) if width else step.bits

    def _answer(self, step, element, value, held, asked, names) -> tuple[str, int]:
        turn, root = element[1], element[2]
        spans = [t.hi - t.lo + 1 for t in asked.types.values() if t is not None]
        alone = len(asked.types) == 1 == len(spans) and spans[0] <= MOST_VALUES
        proof = asked.prove(self.limit_s)
        assert proof.verdict != "refuted", f"{step.node} {element}: {proof.counterexample}"
        if proof:
            return "proved", 0
        if alone:
            self._run(element, value, held, names, asked.types, None)
            return "exhausted", 0
        self._run(element, value, held, names, asked.types, SAMPLES)
        # Numbers that are compared two by two in another order: z3 does not end at any width.
        for bits in NARROW_BITS if len(names) <= MOST_NARROWED else ():
            proof = asked.prove(self.limit_s, bits)
            assert proof.verdict != "refuted", f"{step.node} {element}: {proof.counterexample}"
            if proof:
                return "narrowed", bits
        return "sampled", 0

    def _run(self, element, value, held, names, types, samples: int | None) -> None:
        """Compare on every value of the one variable there is, or on samples of all of them."""
        _, turn, root, number = element
        rng = np.random.default_rng(0)
        own = {n: t for n, t in types.items() if t is not None}
        if samples is None:
            ((only, t),) = own.items()
            parts = [
                {only: np.arange(lo, min(lo + (1 << 17), t.hi + 1))}
                for lo in range(t.lo, t.hi + 1, 1 << 17)
            ]
        else:
            parts = [{n: _drawn(rng, t, samples) for n, t in own.items()}]
        node = self._node(turn, root)
        for part in parts:
            count = len(next(iter(part.values())))
            got = evaluate(value, {names[n]: v for n, v in part.items()})
            got = np.broadcast_to(np.asarray(got).astype(np.int64), (count,))
            if held.lo < 0:
                got = got - ((got >> (held.bits - 1)) << held.bits)
            operands = [self._sampled(turn, n, part, count) for n in node.inputs]
            raw = node.op.meaning(*operands)
            want = saturate(raw, self._graph_type(turn, root).dtype) if node.op.saturates else raw
            want = want.reshape(count, -1)[:, number]
            assert held.lo <= want.min() <= want.max() <= held.hi, f"{element}: past its bounds"
            assert np.array_equal(got, want), f"{element}: {np.flatnonzero(got != want)[:3]}"

    def _sampled(self, turn: int, name: str, part, count: int) -> np.ndarray:
        """Return an operand in `count` runs: lowest wherever it is not one of the variables."""
        graph = self.plan.folded.graph
        if name in graph.tensors:
            return graph.tensors[name]
        root = self._root_of(turn, name)
        assert root is not None, f"{name} is wired: its runs are not laid out"
        t = graph.types[name]
        flat = np.full((count, t.size), t.lo, np.int64)
        for n, values in part.items():
            when, own, number = n.split("|")
            if own == root and int(when) == turn:
                flat[:, int(number)] = values
        return flat.reshape(count, *t.shape)

    # ---- the graph's own meaning

    def _node(self, turn: int, root: str):
        return self.plan.folded.nodes[name_in(self.plan, root, turn, self.part)]

    def _op(self, root: str, turn: int) -> str:
        return str(self._node(turn, root).op)

    def _graph_type(self, turn: int, root: str) -> TensorType:
        return self.plan.folded.graph.types[name_in(self.plan, root, turn, self.part)]

    def _type_of(self, name: str) -> TensorType | None:
        """Return the type of a variable's root in its turn; None for what is unknown."""
        if name.startswith("unknown"):
            return None
        turn, root, _ = name.split("|")
        return self._graph_type(int(turn), root)

    def _narrowed(self, name: str) -> TensorType | None:
        t = self._type_of(name)
        return None if t is None else TensorType(t.dtype, (), *self._bounds(name))

    def _root_of(self, turn: int, name: str) -> str | None:
        for root in self.roots:
            if name_in(self.plan, root, turn, self.part) == name:
                return root
        return None

    def _meaning(self, turn: int, root: str) -> np.ndarray:
        """Return each element of a root as a term over the variables of what it is made of."""
        key = (turn, root)
        if key not in self.symbols:
            if root not in self.inside:
                t = self._graph_type(turn, root)
                self.symbols[key] = self._elements(turn, root, t, t.dtype.bits + 1)
            else:
                self.symbols[key] = self._result(turn, root)
        return self.symbols[key]

    def _result(self, turn: int, root: str) -> np.ndarray:
        node, graph = self._node(turn, root), self.plan.folded.graph
        types = [graph.types[n] for n in node.inputs]
        out = self._graph_type(turn, root)
        peak = node.op.peak(types)
        widest = max(t.dtype.bits for t in (*types, out))
        bits = max(signed_bits(-peak - 1, peak + 1), widest + 1)
        value = node.op.meaning(*(self._operand(turn, n, bits) for n in node.inputs))
        if node.op.saturates:
            value = saturate(value, out.dtype)
        assert value.shape == out.shape
        return value.data.reshape(-1)

    def _operand(self, turn: int, name: str, bits: int) -> Symbols:
        graph = self.plan.folded.graph
        if name in graph.tensors:
            return Symbols.of(graph.tensors[name], bits)
        root = self._root_of(turn, name)
        if root is not None:
            t = graph.types[name]
            return Symbols(self._elements(turn, root, t, bits).reshape(t.shape), bits)
        node = self.plan.folded.nodes[name]
        assert node.op.name in WIRING, f"{name} is neither popped nor made here"
        return node.op.meaning(*(self._operand(turn, n, bits) for n in node.inputs))

    def _elements(self, turn: int, root: str, t: TensorType, bits: int) -> np.ndarray:
        found = np.empty(t.size, dtype=object)
        for n in range(t.size):
            own = z3.BitVec(f"{turn}|{root}|{n}", t.dtype.bits)
            found[n] = signed_value(own, bits, t.dtype.signed)
        return found

    # ---- what leaves

    def _outputs(self, fifo: str, words: list[Value]) -> None:
        """Demand that each beat that leaves is the elements of its value, in their order."""
        (out,) = [f for f in self.own.job.out if f.name == fifo]
        emitted = self._emitted(out)
        dtype = self.plan.folded.type(out.value).dtype
        expected = [
            (token, turn, elements)
            for token in range(TOKENS) for turn in range(self.own.turns) for elements in emitted
        ]  # fmt: skip
        step = self.steps.setdefault(f"{fifo} (pushed)", Step(f"{fifo} (pushed)", "wires"))
        for word, (token, turn, elements) in zip(words, expected, strict=True):
            for place, e in enumerate(elements):
                low = place * dtype.bits
                bits = range(low, low + dtype.bits)
                got = self.terms.select(word, bits, dtype.bits * out.beat)
                step.places += 1
                t = self._graph_type(turn, out.value)
                renamed, names = self._renamed(got, token)
                (name,) = names
                assert name == f"{turn}|{out.value}|{e}", f"{name} is sent for {turn} {e}"
                key = ("pushed", id(renamed), t.lo, t.hi)
                if key in self.settled:
                    continue
                own = z3.BitVec(names[name], dtype.bits)
                wide = dtype.bits + 1
                seen = signed_value(as_z3(renamed, dtype.bits, {names[name]: own}), wide,
                                    dtype.signed)  # fmt: skip
                want = signed_value(own, wide, dtype.signed)
                proof = prove([want >= t.lo, want <= t.hi], [seen], [want], {name: own})
                assert proof, f"{fifo}: {name} {proof}"
                self.kept.append(renamed)
                self.settled[key] = "proved"
                step.kinds += 1
                step.seconds += proof.seconds


@dataclass
class _Asked:
    """Hold what z3 is asked: two terms, the second's bounds, their variables and their types."""

    got: object
    want: object
    ends: tuple[int, int]
    types: dict[str, TensorType | None]
    own: dict[str, z3.BitVecRef]

    def prove(self, limit_s: float, bits: int = 0) -> Proof:
        """Ask whether the terms agree and lie in the bounds, for variables of so many bits."""
        inside = z3.And(self.want >= self.ends[0], self.want <= self.ends[1])
        left = [self.got, z3.If(inside, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1))]
        right = [self.want, z3.BitVecVal(1, 1)]
        return prove(self.facts(bits), left, right, dict(self.own), limit_s)

    def facts(self, bits: int = 0) -> list:
        """Return the bounds of the variables, in `bits` bits of them where that is not 0."""
        found = []
        for name, t in self.types.items():
            if t is None:
                continue
            lo, hi = t.lo, t.hi
            if bits:
                near = min(max(0, lo), hi)
                lo, hi = max(lo, near - (1 << (bits - 1))), min(hi, near + (1 << (bits - 1)) - 1)
            value = signed_value(self.own[name], self.own[name].size() + 1, t.dtype.signed)
            found += [value >= lo, value <= hi]
        return found


def _drawn(rng: np.random.Generator, t: TensorType, count: int) -> np.ndarray:
    """Draw values in a type's bounds: a third anywhere, a third of every magnitude, some ends."""
    whole = rng.integers(t.lo, t.hi, count, endpoint=True)
    width = rng.integers(0, max(abs(t.lo), t.hi).bit_length() + 1, count)
    size = rng.integers(0, 1 << 62, count) >> (62 - width)
    some = np.clip(np.where(rng.random(count) < 0.5, -size, size), t.lo, t.hi)
    ends = rng.choice([t.lo, t.hi], count)
    return np.choose(rng.integers(0, 5, count), [whole, whole, some, some, ends])


def _variables(term) -> list:
    """Return the variables of a bit-vector term."""
    seen: set[int] = set()
    found, stack = [], [term]
    while stack:
        t = stack.pop()
        if t.get_id() in seen:
            continue
        seen.add(t.get_id())
        if z3.is_const(t) and t.decl().kind() == z3.Z3_OP_UNINTERPRETED:
            found.append(t)
        stack += t.children()
    return found
