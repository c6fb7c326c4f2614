"""Hold one step of a recurrence as an integer graph: (inputs, state) -> (outputs, next state)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import networkx as nx
import numpy as np

from cosim.ir.errors import InternalError, UserError
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType

WRAP_LIMIT = 1 << 63


@dataclass(frozen=True)
class Node:
    """Name one use of an operator; the node's name is also the name of its value."""

    name: str
    op: Op
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """Declare a tensor kept from step to step; it starts at zero, or at constant `init`."""

    type: TensorType
    next: str
    init: str | None = None


# Two graphs are never compared by fields: arrays have no one truth value. Compare text or hash.
@dataclass(frozen=True, eq=False)
class Graph:
    """Hold a checked step graph; build it with `GraphBuilder`.

    `types` maps every value (input, constant, state, node) to its type with proved bounds.
    `tensors` maps constants to their data; a graph without weights has none of them. `scales`
    maps values to the real value of one LSB, for people and for dequantising, never for the
    meaning. `outputs` maps an output name to the value it shows.
    """

    name: str
    inputs: tuple[str, ...]
    consts: tuple[str, ...]
    states: Mapping[str, State]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]
    types: Mapping[str, TensorType]
    tensors: Mapping[str, np.ndarray] = field(repr=False)
    scales: Mapping[str, float] = field(repr=False)

    @property
    def has_weights(self) -> bool:
        """Tell whether every constant has data."""
        return len(self.tensors) == len(self.consts)

    def without_weights(self) -> Graph:
        """Return the same structure without data; bounds stay those proved with the data."""
        return replace(self, tensors={})

    def input_types(self, node: Node) -> tuple[TensorType, ...]:
        """Return the types of a node's inputs in order."""
        return tuple(self.types[name] for name in node.inputs)

    def network(self) -> nx.DiGraph:
        """Return the networkx view: values are vertices, `kind` tells what they are.

        Edges from a state's next value back to the state carry `delay=1`, all others 0.
        """
        g = nx.DiGraph()
        for kind, names in (("input", self.inputs), ("const", self.consts)):
            g.add_nodes_from(names, kind=kind)
        g.add_nodes_from(self.states, kind="state")
        for node in self.nodes:
            g.add_node(node.name, kind=node.op.name)
            g.add_edges_from(((name, node.name) for name in node.inputs), delay=0)
        g.add_edges_from(((s.next, name) for name, s in self.states.items()), delay=1)
        return g

    def text(self) -> str:
        """Print as short stable text: one line per value, in order."""
        lines = [f"graph {self.name}"]
        lines += [f"  input {n}: {self.types[n]}" for n in self.inputs]
        lines += [f"  const {n}: {self.types[n]}" for n in self.consts]
        for name, s in self.states.items():
            lines.append(f"  state {name}: {s.type} = {s.init or 0}, next {s.next}")
        for node in self.nodes:
            args = ", ".join(node.inputs)
            clip = " saturating" if node.op.saturates else ""
            lines.append(f"  {node.name} = {node.op} <- {args} : {self.types[node.name]}{clip}")
        lines += [f"  output {n} = {v}" for n, v in self.outputs.items()]
        return "\n".join(lines) + "\n"


class GraphBuilder:
    """Collect values in order, inferring and proving each type as it comes."""

    def __init__(self, name: str) -> None:
        """Start an empty graph."""
        self.name = name
        self.types: dict[str, TensorType] = {}
        self.scales: dict[str, float] = {}
        self._inputs: list[str] = []
        self._consts: list[str] = []
        self._states: dict[str, State] = {}
        self._nodes: list[Node] = []
        self._outputs: dict[str, str] = {}
        self._tensors: dict[str, np.ndarray] = {}

    def input(self, name: str, type_: TensorType, scale: float | None = None) -> str:
        """Declare an input of every step."""
        self._declare(name, type_, scale)
        self._inputs.append(name)
        return name

    def const(
        self,
        name: str,
        data: np.ndarray | TensorType,
        dtype: IntType | None = None,
        scale: float | None = None,
    ) -> str:
        """Declare a constant by its data and declared type, or by its type alone (no weights)."""
        if isinstance(data, TensorType):
            self._declare(name, data, scale)
        else:
            if dtype is None:
                raise InternalError(f"constant {name!r} has data but no declared type")
            self._declare(name, TensorType.of(np.asarray(data), dtype), scale)
            # A copy: nobody who keeps the array can change the graph under its proofs.
            self._tensors[name] = np.array(data, dtype=np.int64, order="C")
        self._consts.append(name)
        return name

    def state(
        self, name: str, type_: TensorType, scale: float | None = None, init: str | None = None
    ) -> str:
        """Declare a state that starts at zero or at constant `init`; `update` gives its next."""
        if init is None and not type_.lo <= 0 <= type_.hi:
            raise InternalError(f"graph {self.name}: state {name!r} is {type_} and starts at zero")
        if init is not None:
            self._require_known(f"state {name!r}", init)
            if init not in self._consts or not _holds(type_, self.types[init]):
                raise InternalError(
                    f"graph {self.name}: state {name!r} is {type_} but starts at {init!r}, "
                    f"{self.types[init]}; give a constant of that type"
                )
        self._declare(name, type_, scale)
        self._states[name] = State(type_, next="", init=init)
        return name

    def update(self, state: str, value: str) -> None:
        """Say which value the state takes for the next step; raise UserError if it may not fit."""
        self._require_known(f"the next value of state {state!r}", value)
        old = self._states[state]
        if old.next or value in self._consts:
            raise InternalError(
                f"graph {self.name}: state {state!r} is updated twice or by a constant"
            )
        if not _holds(old.type, self.types[value]):
            raise UserError(
                f"graph {self.name}: state {state!r} is {old.type} but its next value {value!r} is "
                f"{self.types[value]}; requantise the value to the state's type"
            )
        self._states[state] = replace(old, next=value)

    def add(self, name: str, op: Op, *inputs: str, scale: float | None = None) -> str:
        """Add a node; raise UserError if its value or an intermediate could wrap."""
        self._require_known(f"node {name!r}", *inputs)
        if all(n in self._consts for n in inputs):
            raise InternalError(
                f"graph {self.name}: node {name!r} ({op}) reads constants only; compute its value "
                "and declare that as a constant"
            )
        moving = [n for k in op.constants for n in inputs[k : k + 1] if n not in self._consts]
        if moving:
            raise InternalError(
                f"graph {self.name}: node {name!r} ({op}) needs a constant, not {moving}"
            )
        types = [self.types[n] for n in inputs]
        raw = op.infer(types)
        if not op.saturates and not raw.dtype.holds(raw.lo, raw.hi):
            raise UserError(
                f"graph {self.name}: node {name!r} ({op}) can reach {raw.lo}..{raw.hi}, which "
                f"{raw.dtype} ({raw.dtype.lo}..{raw.dtype.hi}) cannot hold; widen it or saturate"
            )
        peak = op.peak(types)
        if peak >= WRAP_LIMIT:
            raise UserError(
                f"graph {self.name}: node {name!r} ({op}) needs {peak.bit_length() + 1} bits inside"
                ", more than 64; narrow its operands"
            )
        lo, hi = (min(max(b, raw.dtype.lo), raw.dtype.hi) for b in (raw.lo, raw.hi))
        self._declare(name, TensorType(raw.dtype, raw.shape, lo, hi), scale)
        self._nodes.append(Node(name, op, tuple(inputs)))
        return name

    def output(self, name: str, value: str) -> None:
        """Show a value under an output name."""
        self._require_known(f"output {name!r}", value)
        if name in self._outputs or value in self._consts:
            raise InternalError(
                f"graph {self.name}: output {name!r} is given twice or shows a constant"
            )
        self._outputs[name] = value

    def build(self) -> Graph:
        """Return the finished graph; raise if a state has no next value."""
        open_states = [n for n, s in self._states.items() if not s.next]
        if open_states:
            raise InternalError(f"graph {self.name}: states {open_states} are never updated")
        order = [*self._inputs, *self._consts, *self._states, *(n.name for n in self._nodes)]
        return Graph(
            name=self.name,
            inputs=tuple(self._inputs),
            consts=tuple(self._consts),
            states=dict(self._states),
            nodes=tuple(self._nodes),
            outputs=dict(self._outputs),
            types={n: self.types[n] for n in order},
            tensors=dict(self._tensors),
            scales=dict(self.scales),
        )

    def _declare(self, name: str, type_: TensorType, scale: float | None) -> None:
        if name in self.types:
            raise InternalError(f"graph {self.name}: value {name!r} is declared twice")
        self.types[name] = type_
        if scale is not None:
            self.scales[name] = float(scale)

    def _require_known(self, reader: str, *names: str) -> None:
        missing = [n for n in names if n not in self.types]
        if missing:
            raise InternalError(f"graph {self.name}: {reader} reads unknown {missing}")


def _holds(declared: TensorType, got: TensorType) -> bool:
    same = declared.dtype == got.dtype and declared.shape == got.shape
    return same and declared.lo <= got.lo and got.hi <= declared.hi
