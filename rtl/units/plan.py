"""Read off a Design and its graph what each unit in wires needs, every layer's constants included.

Glossary:
    turn     one pass through the block: a layer, or a token where the graph has no layers
    job      a task of a unit, with its FIFOs: what comes when is `flow`'s to say
    variant  an operator or constant as it is in one layer; the units hold one for every layer

A beat of a FIFO holds `beat` elements of its value in the order in which the maker lets them out,
the first one lowest, each as wide as the value's declared type. The last beat of a value may hold
fewer; what is above them means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cosim.design import Design, Fifo, Layout, Task, Unit, graph_kinds
from cosim.design.arrange import fifos_of
from cosim.design.kinds import Kind
from cosim.design.rows import Flow
from cosim.design.sketch import STAR
from cosim.design.tasks import Skeleton
from cosim.ir.errors import InternalError, UserError
from cosim.ir.graph import Graph, Node
from cosim.ir.model import Model
from cosim.ir.op import Op
from cosim.ir.types import TensorType


@dataclass(frozen=True, eq=False)
class Folded:
    """Hold a step graph beside its folded sketch: names of the sketch stand for all layers."""

    graph: Graph
    skeleton: Skeleton
    layout: Layout
    design: Design

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """Return the nodes of the graph by name."""
        return {n.name: n for n in self.graph.nodes}

    def names(self, name: str) -> tuple[str, ...]:
        """Return what a name of the sketch is called in the graph, layer by layer."""
        if not name.startswith(STAR):
            return (name,)
        rest = name.removeprefix(STAR)
        return tuple(f"layers.{k}.{rest}" for k in range(self.layout.layers))

    def type(self, name: str) -> TensorType:
        """Return the declared type of a value, state or carry, with bounds that hold in all layers.

        Raise UserError where layers declare it otherwise: one datapath could not serve them.
        """
        carry = self.skeleton.sketch.carries.get(name)
        if carry is not None:
            ends = [v for v in (carry.first, carry.block) if v is not None]
            return _spanning(name, [self.type(v) for v in ends], self.skeleton.sketch.types[name])
        own = [self.graph.types[n] for n in self.names(name)]
        return _spanning(name, own, self.skeleton.sketch.types[name])

    def ops(self, node: str) -> tuple[Op, ...]:
        """Return a node's operator, layer by layer."""
        return tuple(self.nodes[n].op for n in self.names(node))

    def is_constant(self, node: str, operand: int) -> bool:
        """Tell whether an operand is a constant."""
        return self.nodes[self.names(node)[0]].inputs[operand] in self.graph.tensors

    def constants(self, node: str, operand: int) -> tuple[np.ndarray, ...]:
        """Return a node's constant operand, layer by layer; shapes may differ by broadcasting."""
        return tuple(self.graph.tensors[self.nodes[n].inputs[operand]] for n in self.names(node))

    def initial(self, state: str) -> tuple[np.ndarray, ...]:
        """Return what a state holds before the first token, layer by layer."""
        found = []
        for name in self.names(state):
            kept = self.graph.states[name]
            zeros = np.zeros(kept.type.shape, np.int64)
            found.append(zeros if kept.init is None else self.graph.tensors[kept.init])
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Job:
    """Hold a task of a unit with the FIFOs that end at it and those that begin at it."""

    task: Task
    flow: Flow

    @property
    def into(self) -> Sequence[Fifo]:
        """Return the FIFOs that it pops."""
        return self.flow.into

    @property
    def out(self) -> Sequence[Fifo]:
        """Return the FIFOs that it pushes."""
        return self.flow.out


@dataclass(frozen=True, eq=False)
class UnitPlan:
    """Hold a unit and its jobs in static order."""

    unit: Unit
    jobs: tuple[Job, ...]
    folded: Folded

    @property
    def kind(self) -> Kind:
        """Return the kind of the unit."""
        return self.unit.kind

    @property
    def into(self) -> tuple[Fifo, ...]:
        """Return all FIFOs that the unit pops."""
        return tuple(f for job in self.jobs for f in job.into)

    @property
    def out(self) -> tuple[Fifo, ...]:
        """Return all FIFOs that the unit pushes."""
        return tuple(f for job in self.jobs for f in job.out)

    @property
    def words_in(self) -> tuple[str, ...]:
        """Return the FIFOs of words that a source pops: see `words_of`."""
        own = {job.task.name for job in self.jobs}
        return tuple(w for w, (_, taker) in words_of(self.folded.layout).items() if taker in own)

    @property
    def words_out(self) -> tuple[str, ...]:
        """Return the FIFOs of words that a sink pushes."""
        own = {job.task.name for job in self.jobs}
        return tuple(w for w, (maker, _) in words_of(self.folded.layout).items() if maker in own)

    @property
    def turns(self) -> int:
        """Return how often the block's jobs are done a round."""
        return self.folded.layout.layers


def words_of(layout: Layout) -> dict[str, tuple[str, str]]:
    """Return the FIFOs by which every sink tells every source that it is done: maker and taker.

    Each holds one word of one bit, which is there at the start.
    """
    names = [t.name for t in layout.tasks]
    sources = [n for n in names if n.startswith("source.")]
    sinks = [n for n in names if n.startswith("sink.")]
    return {f"{end} -> {source}": (end, source) for source in sources for end in sinks}


def unit_plans(model: Model, design: Design) -> dict[str, UnitPlan]:
    """Return the plan of every unit of a causal model's design by name.

    Raise UserError where the model has several layouts, no weights, or is not the design's.
    """
    if len(design.layouts) != 1:
        raise UserError(
            f"design of {design.model}: {len(design.layouts)} layouts; wires are built for a model "
            "of one step graph, which a causal language model has"
        )
    (layout,) = design.layouts
    graph = next(s.graph for s in model.segments if s.name == layout.segments[0])
    if not graph.has_weights:
        raise UserError(
            f"graph {graph.name} of {model.name} has no weights; wires need them: quantise a "
            "checkpoint"
        )
    c = design.choices
    (kind,) = graph_kinds(model, c.order, c.fused, c.matrix)
    if kind.skeleton.tasks != layout.tasks:
        raise UserError(
            f"design of {design.model} has other tasks than {model.name}; build it for this graph"
        )
    layers, fifos = kind.skeleton.sketch.layers, fifos_of(kind.skeleton, design.by_name, c)
    if (layers, fifos) != (layout.layers, layout.fifos):
        what = next((f.name for f in layout.fifos if f not in fifos), "none of its FIFOs")
        raise UserError(
            f"design of {design.model} has {layout.layers} layers, {model.name} has {layers}, and "
            f"{what} is otherwise there; build the design for this graph"
        )
    folded = Folded(graph, kind.skeleton, layout, design)
    jobs: dict[str, list[Job]] = {}
    for task in layout.tasks:
        into = [f for f in layout.fifos if f.taker == task.name]
        out = [f for f in layout.fifos if f.maker == task.name]
        flow = Flow(kind.skeleton, task, into, out)
        jobs.setdefault(task.unit, []).append(Job(task, flow))
    return {name: UnitPlan(design.unit(name), tuple(own), folded) for name, own in jobs.items()}


def same_in_all(variants: Sequence[Op], what: Callable[[Op], object], node: str) -> object:
    """Return what all variants have alike; raise UserError where one differs."""
    found = [what(op) for op in variants]
    if any(f != found[0] for f in found):
        raise UserError(
            f"node {node!r}: layers differ in {sorted(map(str, set(map(str, found))))}; one unit "
            "serves them only if they are alike"
        )
    return found[0]


def _spanning(name: str, types: Sequence[TensorType], like: TensorType) -> TensorType:
    lo, hi = min(t.lo for t in types), max(t.hi for t in types)
    if not like.dtype.holds(lo, hi):
        raise InternalError(f"{name!r}: {like.dtype} does not hold {lo}..{hi} of all layers")
    return replace(like, lo=lo, hi=hi)
