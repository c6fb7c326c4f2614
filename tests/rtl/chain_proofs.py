"""Prove that the wires of a vector unit give the graph's own integers, node by node.

The block is the one that is built: rows, operand stores, tables by layer, FIFOs. It runs on symbols
for two tokens (`rtl/unroll.py`), all beats at hand, all outputs taken. Wherever the chain has an
element of a value in a lane, that wire must equal, for all inputs, what the node's own meaning
gives on the graph's shapes, and lie in the bounds that the graph and the wire declare; then a fresh
variable of these bounds stands for it. So each step is as small as an operator, and the chain of
steps is the whole. Bounds of what comes in are the graph's to say.

How each step is settled: `proved` by z3; `exhausted`, where it hangs on one variable of at most
2^24 values and z3 does not end; `narrowed`: proved for inputs of fewer bits, and run at the full
width on samples; `sampled`: only that, where z3 does not end at any width.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import z3

from cosim.ir.numerics import saturate
from cosim.ir.types import TensorType
from rtl.numerics import Int
from rtl.prove import prove, signed_value
from rtl.terms import Value, as_z3, evaluate, in_order
from rtl.units.plan import UnitPlan
from rtl.units.unit import unit_ports
from rtl.units.values import name_in
from tests.rtl.chain_asked import Asked, drawn, variables_of
from tests.rtl.chain_meaning import Meaning
from tests.rtl.chain_run import TOKENS, ChainRun, Element

MOST_VALUES = 1 << 24
# Tables that z3 need not try: they hang on one input, and all of its values are soon run.
TABLES = {"pwl", "pwl_log", "step_table"}
NARROW_BITS = (12, 10, 8, 6, 5, 4, 3, 2)
MOST_NARROWED = 16
SAMPLES = 1 << 16


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
class ChainProof(ChainRun):
    """Prove one vector unit."""

    plan: UnitPlan
    limit_s: float = 20
    steps: dict[str, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Build the block, and note which wires hold which elements in which rows."""
        super().__init__(self.plan)
        self.graph = Meaning(self.plan)
        self.part, self.inside = self.graph.part, self.graph.inside
        self.settled: dict[tuple, str] = {}
        self.bounds: dict[str, tuple[int, int]] = {}
        self.variables: dict[int, set[str]] = {}
        self.kept: list[object] = []
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
        fired = self.fired()
        beats = self._play(fired)
        for fifo, words in beats.items():
            self._outputs(fifo, words)
        return list(self.steps.values())

    def _play(self, fired: dict[int, int]) -> dict[str, list[Value]]:
        ports = unit_ports(self.plan)
        found: dict[str, list[Value]] = {f.name: [] for f in self.own.job.out}
        now = [0]
        taps = {name: self._tap(name, fired, now) for name in self.held}
        for state in self.cycles(taps, now):
            for fifo, words in found.items():
                if state.known(state.value[f"{ports[fifo]}_valid"], fifo):
                    words.append(state.value[f"{ports[fifo]}_data"])
        return found

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
                    value = self.stands_for(element, held)
            return value

        return tap

    def _settle(self, element: Element, value: Value, held: Int) -> None:
        token, turn, root, number = element
        label = root if root in self.inside else f"{root} (kept)"
        op = self.graph.op(root, turn) if root in self.inside else "wires"
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
            t = self.graph.type(turn, root)
            bits = t.dtype.bits + 1
            target = signed_value(z3.BitVec(own, t.dtype.bits), bits, t.dtype.signed)
        else:
            target, bits = (
                self.graph.elements_of(turn, root)[number],
                self.graph.elements_of(turn, root)[0].size(),
            )
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
        if root not in self.inside or self.graph.node(turn, root).op.name not in TABLES:
            return False
        source = self.graph.root_of(turn, self.graph.node(turn, root).inputs[0])
        if source is None:
            return False
        t, looked_up = self.graph.type(turn, source), f"{turn}|{source}|{number}"
        if t.shape != self.graph.type(turn, root).shape or t.hi - t.lo >= MOST_VALUES:
            return False
        if not names:  # a table whose entries that can be reached are all alike is a constant
            names[looked_up] = "v0"
        assert list(names) == [looked_up], f"{root} {number} looks up {names}"
        return True

    def _settle_table(self, step, element, value, names, held) -> None:
        (name,) = names
        t = self._narrowed(name)
        node = name_in(self.plan, element[2], element[1], self.part)
        key = ("table", _key(value), node, t.lo, t.hi, held.lo, held.hi)
        if key in self.settled:
            return
        self.kept.append(value)
        self._run(element, value, held, names, {name: t}, None)
        self.settled[key] = step.how = "exhausted"
        step.kinds += 1

    def _bounds(self, name: str) -> tuple[int, int]:
        """Return the bounds of a variable: those declared, and those that its wires need."""
        t = self.graph.type_of(name)
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
        if target.get_id() not in self.variables:
            self.variables[target.get_id()] = {str(v) for v in variables_of(target)}
            self.kept.append(target)
        extra = sorted(self.variables[target.get_id()] - set(names))
        bits = {str(t.param): t.bits for t in in_order(value) if t.op == "var"}
        for name in extra:  # the meaning names them, the wires do not hang on them
            names[name] = f"v{len(names)}"
            bits[names[name]] = self._declared(name).dtype.bits
        types = {n: self._narrowed(n) for n in names}
        own = {n: z3.BitVec(v, bits[v]) for n, v in names.items()}
        pairs = [
            # A layer may declare a value narrower than the wires that serve all layers.
            (z3.BitVec(n, t.dtype.bits), z3.Extract(t.dtype.bits - 1, 0, own[n]))
            for n, t in types.items() if t is not None
        ]  # fmt: skip
        meant = z3.substitute(target, *pairs)
        bounds = tuple((names[n], t.lo, t.hi) for n, t in types.items() if t is not None)
        ends = self._bounds(f"{turn}|{root}|{element[3]}")
        key = (_key(value), meant.get_id(), bounds,
               (held.lo, held.hi), ends)  # fmt: skip
        if key in self.settled:
            return
        self.kept += [value, meant]
        step.kinds += 1
        got = signed_value(as_z3(value, held.bits, {str(v): v for v in own.values()}),
                           wide, held.lo < 0)  # fmt: skip
        declared = self.graph.type(turn, root)
        ends = max(declared.lo, held.lo), min(declared.hi, held.hi)
        asked = Asked(got, signed_value(meant, wide, True), ends, types, own)
        how, width = self._answer(step, element, value, held, asked, names)
        self.settled[key] = how
        order = ("proved", "exhausted", "narrowed", "sampled")
        if order.index(how) > order.index(step.how):
            step.how = how
        step.bits = min(step.bits or width, width) if width else step.bits

    def _answer(self, step, element, value, held, asked, names) -> tuple[str, int]:
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
            parts = [{n: drawn(rng, t, samples) for n, t in own.items()}]
        node = self.graph.node(turn, root)
        for part in parts:
            count = len(next(iter(part.values())))
            got = evaluate(value, {names[n]: v for n, v in part.items()})
            got = np.broadcast_to(np.asarray(got).astype(np.int64), (count,))
            if held.lo < 0:
                got = got - ((got >> (held.bits - 1)) << held.bits)
            operands = [self.graph.sampled(turn, n, part, count) for n in node.inputs]
            raw = node.op.meaning(*operands)
            want = saturate(raw, self.graph.type(turn, root).dtype) if node.op.saturates else raw
            want = want.reshape(count, -1)[:, number]
            declared = self.graph.type(turn, root)
            lo, hi = max(held.lo, declared.lo), min(held.hi, declared.hi)
            assert lo <= want.min() <= want.max() <= hi, f"{element}: past its bounds"
            assert np.array_equal(got, want), f"{element}: {np.flatnonzero(got != want)[:3]}"

    def _declared(self, name: str) -> TensorType:
        found = self.graph.type_of(name)
        assert found is not None
        return found

    def _narrowed(self, name: str) -> TensorType | None:
        t = self.graph.type_of(name)
        return None if t is None else TensorType(t.dtype, (), *self._bounds(name))

    def _outputs(self, fifo: str, words: list[Value]) -> None:
        """Demand that each beat that leaves is the elements of its value, in their order."""
        (out,) = [f for f in self.own.job.out if f.name == fifo]
        emitted = self.emitted(out)
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
                renamed, names = self._renamed(got, token)
                (name,) = names
                assert name == f"{turn}|{out.value}|{e}", f"{name} is sent for {turn} {e}"
                lo, hi = self._bounds(name)
                key = ("pushed", id(renamed), lo, hi)
                if key in self.settled:
                    continue
                own = z3.BitVec(names[name], dtype.bits)
                wide = dtype.bits + 1
                seen = signed_value(as_z3(renamed, dtype.bits, {names[name]: own}), wide,
                                    dtype.signed)  # fmt: skip
                want = signed_value(own, wide, dtype.signed)
                proof = prove([want >= lo, want <= hi], [seen], [want], {name: own})
                assert proof, f"{fifo}: {name} {proof}"
                self.kept.append(renamed)
                self.settled[key] = "proved"
                step.kinds += 1
                step.seconds += proof.seconds


def _key(value: Value) -> object:
    """Tell values apart; a term is made once, so that its identity will do."""
    return value if isinstance(value, int) else ("term", id(value))
