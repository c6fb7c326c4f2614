"""Read off the graph what a chain's elements are: terms over the variables that they hang on."""

import numpy as np
import z3

from cosim.ir.numerics import saturate
from cosim.ir.types import TensorType, signed_bits
from rtl.prove import signed_value
from rtl.symbolic import Symbols
from rtl.units.plan import UnitPlan
from rtl.units.values import name_in

WIRING = {"slice", "reshape", "concat", "spread", "transpose"}


class Meaning:
    """Run a graph's nodes on symbols, a turn at a time, in the shapes that the graph has.

    A variable is called turn|root|number, by the number of the element in its root.
    """

    def __init__(self, plan: UnitPlan) -> None:
        """Look at the one job of a unit."""
        (job,) = plan.jobs
        self.plan, self.part = plan, job.task.part
        self.inside = set(job.task.nodes)
        self.roots = {f.value for f in job.into} | self.inside
        self.symbols: dict[tuple[int, str], np.ndarray] = {}

    def node(self, turn: int, root: str):
        return self.plan.folded.nodes[name_in(self.plan, root, turn, self.part)]

    def op(self, root: str, turn: int) -> str:
        return str(self.node(turn, root).op)

    def type(self, turn: int, root: str) -> TensorType:
        return self.plan.folded.graph.types[name_in(self.plan, root, turn, self.part)]

    def type_of(self, name: str) -> TensorType | None:
        """Return the type of a variable's root in its turn; None for what is unknown."""
        if name.startswith("unknown"):
            return None
        turn, root, _ = name.split("|")
        return self.type(int(turn), root)

    def root_of(self, turn: int, name: str) -> str | None:
        for root in self.roots:
            if name_in(self.plan, root, turn, self.part) == name:
                return root
        return None

    def elements_of(self, turn: int, root: str) -> np.ndarray:
        """Return each element of a root as a term over the variables of what it is made of."""
        key = (turn, root)
        if key not in self.symbols:
            if root not in self.inside:
                t = self.type(turn, root)
                self.symbols[key] = self._elements(turn, root, t, t.dtype.bits + 1)
            else:
                self.symbols[key] = self._result(turn, root)
        return self.symbols[key]

    def _result(self, turn: int, root: str) -> np.ndarray:
        node, graph = self.node(turn, root), self.plan.folded.graph
        types = [graph.types[n] for n in node.inputs]
        out = self.type(turn, root)
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
        root = self.root_of(turn, name)
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

    def sampled(self, turn: int, name: str, part, count: int) -> np.ndarray:
        """Return an operand in `count` runs: lowest wherever it is not one of the variables."""
        graph = self.plan.folded.graph
        if name in graph.tensors:
            return graph.tensors[name]
        root = self.root_of(turn, name)
        assert root is not None, f"{name} is wired: its runs are not laid out"
        t = graph.types[name]
        flat = np.full((count, t.size), t.lo, np.int64)
        for n, values in part.items():
            when, own, number = n.split("|")
            if own == root and int(when) == turn:
                flat[:, int(number)] = values
        return flat.reshape(count, *t.shape)
