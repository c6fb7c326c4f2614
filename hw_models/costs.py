"""Price each node: the unit that carries it, its cycles, the bits it moves, its energy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cosim.design.design import Design
from cosim.design.graph_kind import GraphKind
from cosim.design.plan import Layout, Place
from cosim.design.sketch import folded_name
from cosim.design.tasks import Skeleton
from cosim.ir.graph import Graph, Node
from cosim.ir.model import Model, Segment
from cosim.ir.work import Work
from cosim.ops import Linear
from hw_models.energy import PriceList, Traffic
from hw_models.network import Network
from hw_models.offchip import (
    constants_of_node,
    sequences_by_node,
    spilt_by_node,
    window_moves,
)
from hw_models.storage import seen_share

PORTS = ("memory", "state.read", "state.write", "window.", "constants.", "spill.", "sequence.")


@dataclass(frozen=True)
class OperatorRow:
    """Hold the cost of one node for one token of one sequence.

    `cycles`: how long its unit is held by the task that carries it, or its off-chip bits take,
    whichever is longer (`bound` says which); operators of one task share them, and so do the
    tokens of a turn (rounded up). `bytes`: all its streams, constants and states; weights that are
    fetched for several tokens, and states that stay on chip between them, count by their fetches.
    `intensity`: operations per such byte.
    """

    segment: str
    node: str
    op: str
    unit: str
    cycles: int
    macs: int
    operations: int
    bytes: float
    offchip_bytes: float
    intensity: float
    energy_pj: float
    bound: str


def task_cycles(network: Network) -> dict[str, dict[str, int]]:
    """Return for each task the cycles of one turn for which it holds each of its actors."""
    found: dict[str, dict[str, int]] = {}
    for actor in network.actors:
        for program in actor.sections:
            for name in {k.task for k in program.kinds}:
                of_task = found.setdefault(name, {})
                of_task[actor.name] = of_task.get(actor.name, 0) + program.busy_of(name)
    return found


class Pricer:
    """Price the nodes of the segments that one layout serves."""

    def __init__(
        self,
        skeleton: Skeleton,
        layout: Layout,
        design: Design,
        network: Network,
        prices: PriceList,
        passes: int,
    ) -> None:
        """Look at one layout with its network of so many passes, and its machine's price list."""
        self.skeleton, self.design, self.prices, self.passes = skeleton, design, prices, passes
        chosen, workload = design.choices, design.choices.workload
        shares = design.places["weights"] == "memory" and max(chosen.turns.tiles) > 1
        self.fetches = float(chosen.turns.fetches) if shares else 1.0
        self.state_moves = float(chosen.state_moves)
        self.constant_moves = float(chosen.constant_moves)
        self.is_prompt, self.shares, self.context = workload.is_prompt, shares, workload.context
        self.cycles = task_cycles(network)
        self.kinds = {u.name: u.kind for u in design.units}
        self.unit_of = {t.name: t.unit for t in layout.tasks}
        self.takers = Counter(r for t in skeleton.tasks for r in skeleton.reads(t))
        self.sketched = {n.name: n for n in skeleton.sketch.nodes}
        self.spilt = spilt_by_node(skeleton, layout, self.is_prompt)
        self.sequences = sequences_by_node(skeleton, layout, design)
        self.known: dict[tuple[object, ...], tuple[OperatorRow, Mapping[str, float]]] = {}

    def price(self, segment: Segment) -> tuple[list[OperatorRow], dict[str, float]]:
        """Return the rows of a segment's nodes, and its energy by component, in pJ."""
        graph = segment.graph
        names = self._names(graph)
        written = {s.next: graph.types[n].size_bits for n, s in graph.states.items()}
        rows: list[OperatorRow] = []
        total: dict[str, float] = {}
        for node in graph.nodes:
            name = names[node.name]
            if self.is_prompt and not self._in_prompt(name):
                continue
            types = (*graph.input_types(node), graph.types[node.name])
            # Layers cost the same wherever their types are the same.
            key = (name, node.op, *((t.shape, t.dtype) for t in types))
            if key not in self.known:
                self.known[key] = self._row(graph, node, name, written.get(node.name, 0))
            row, energy = self.known[key]
            rows.append(replace(row, segment=segment.name, node=node.name))
            for component, pj in energy.items():
                total[component] = total.get(component, 0.0) + pj
        return rows, total

    def _in_prompt(self, name: str) -> bool:
        task = self.skeleton.maker.get(name)
        return task is None or self.skeleton.in_prompt(self.skeleton.task(task))

    def _names(self, graph: Graph) -> dict[str, str]:
        """Return each node's name in the sketch; segments of one kind have the same order."""
        sketch = self.skeleton.sketch
        if sketch.layers > 1:
            return {n.name: folded_name(n.name) for n in graph.nodes}
        return {n.name: s.name for n, s in zip(graph.nodes, sketch.nodes, strict=True)}

    def _row(
        self, graph: Graph, node: Node, name: str, written_bits: int
    ) -> tuple[OperatorRow, Mapping[str, float]]:
        work = node.op.work(graph.input_types(node), graph.types[node.name])
        traffic = self._traffic(graph, node, name, work, written_bits)
        traffic = self._spilling(name, traffic)
        energy = self.prices.work_pj(work) | self.prices.traffic_pj(traffic)
        task = self.skeleton.maker.get(name, "")
        unit = self.unit_of.get(task, "wire")
        held = self.cycles.get(task, {})
        own = -(-held.get(unit, 0) // self.passes)
        ports = max((c for actor, c in held.items() if is_port(actor) and actor != unit), default=0)
        ports = -(-ports // self.passes)
        if node.op.name == "embed" and traffic.off_chip_bits:
            own, ports = 0, own
        moved = self._moved_bits(graph, node, name, work) / 8
        row = OperatorRow(
            "", node.name, node.op.name, unit, max(own, ports), work.mac_count,
            work.operations, moved, traffic.off_chip_bits / 8,
            work.operations / moved if moved else 0.0, sum(energy.values()),
            "memory" if ports > own else "compute",
        )  # fmt: skip
        return row, energy

    def _moved_bits(self, graph: Graph, node: Node, name: str, work: Work) -> float:
        """Return a node's streams, constants and states, shared fetches by their share."""
        consts = work.const_bits * (self.fetches if isinstance(node.op, Linear) else 1)
        own = constants_of_node(self.skeleton, self.design, graph, node, self.sketched[name], work)
        if own.drawn and own.counted:
            consts = own.beside + own.drawn * self.constant_moves
        states: float = work.state_read_bits + work.state_write_bits
        if node.op.name == "push":
            states -= work.state_read_bits * (1 - seen_share(graph, node, self.context))
        task = self.skeleton.maker.get(name)
        if task and self.kinds[self.unit_of[task]] == "state":
            states = states * (self.state_moves if self.design.places["states"] == "memory" else 1)
        if moves := window_moves(self.design, graph, node):
            states = 2 * work.state_read_bits * float(moves)
        consts += 2 * self.spilt[name] + self.sequences[name]
        return consts + states + work.in_bits + work.out_bits

    def _state_bits(self, graph: Graph, node: Node, work: Work, written_bits: int) -> float:
        """Return the bits of states that a node reads and writes."""
        if node.op.name == "push":
            seen = seen_share(graph, node, self.context)
            return work.state_read_bits * seen + work.state_write_bits
        read = sum(graph.types[n].size_bits for n in node.inputs if n in graph.states)
        return read + written_bits

    def _traffic(
        self, graph: Graph, node: Node, name: str, work: Work, written_bits: int
    ) -> Traffic:
        """Count the bits that a node moves through FIFOs, its memories, and off chip."""
        task = self.skeleton.maker.get(name)
        if task is None:
            return Traffic()
        stream = graph.types[node.name].size_bits * self.takers.get(name, 0)
        for operand, own_name in zip(node.inputs, self.sketched[name].inputs, strict=True):
            if own_name not in self.skeleton.sketch.stored:
                roots = self.skeleton.views[own_name].roots
                if any(self.skeleton.maker[r] != task for r in roots):
                    stream += graph.types[operand].size_bits
        places = self.design.places
        states = self._state_bits(graph, node, work, written_bits)
        if isinstance(node.op, Linear):
            found = _stored(work.const_bits * self.fetches, places["weights"], True)
            if self.shares:
                # Kept once more a fetch, given again to the others; sums are put into order.
                again = work.const_bits + 2 * work.out_bits
                found = replace(found, large_bits=found.large_bits + again)
            return replace(found, stream_bits=stream)
        if node.op.name == "embed":
            return replace(_stored(work.const_bits, places["embedding"], False), stream_bits=stream)
        own = constants_of_node(self.skeleton, self.design, graph, node, self.sketched[name], work)
        # Tables are priced by their look-ups.
        small: float = 0 if node.op.name in {"pwl", "pwl_log", "step_table"} else own.beside
        off = own.drawn * self.constant_moves
        # Through a shallow FIFO, in and out; later passes read what the first has left.
        small += 2 * off + own.drawn * (1 - self.constant_moves)
        if self.kinds[self.unit_of[task]] == "state":
            found = _stored(states * self.state_moves, places["states"], True)
            if places["states"] == "memory":
                # In between they stay in a memory on chip.
                kept = states * (1 - self.state_moves)
                found = replace(found, large_bits=found.large_bits + kept)
            else:
                found = _stored(states, "chip", True)
            off += found.off_chip_bits
            return replace(found, stream_bits=stream, small_bits=small, off_chip_bits=off)
        moves = float(window_moves(self.design, graph, node))
        if moves:
            both = 2 * work.state_read_bits * moves
            states, small, off = states * (1 - moves), small + 2 * both, off + both
        return Traffic(stream, small + states, off_chip_bits=off)

    def _spilling(self, name: str, traffic: Traffic) -> Traffic:
        """Add what a node's results move off chip and back, and through the FIFOs there."""
        spilt, kept = 2 * self.spilt[name], self.sequences[name]
        return replace(
            traffic,
            stream_bits=traffic.stream_bits + spilt + 2 * kept,
            off_chip_bits=traffic.off_chip_bits + spilt + kept,
        )


def is_port(actor: str) -> bool:
    """Tell whether an actor is a port of the off-chip memory."""
    return actor.startswith(PORTS)


def price_tokens(
    model: Model,
    kinds: Sequence[GraphKind],
    design: Design,
    networks: Sequence[tuple[Network, int]],
    prices: PriceList,
) -> tuple[tuple[OperatorRow, ...], dict[str, float]]:
    """Return a row per node of a model, and the energy of one token by component, in pJ.

    `networks`: one for each layout, with the passes of its turns.
    """
    rows: dict[str, list[OperatorRow]] = {}
    energy: dict[str, float] = {}
    for kind, layout, (network, passes) in zip(kinds, design.layouts, networks, strict=True):
        pricer = Pricer(kind.skeleton, layout, design, network, prices, passes)
        for segment in model.segments:
            if segment.name in kind.segments:
                rows[segment.name], spent = pricer.price(segment)
                for component, pj in spent.items():
                    energy[component] = energy.get(component, 0.0) + pj
    return tuple(row for s in model.segments for row in rows[s.name]), energy


def _stored(bits: float, place: Place, buffered: bool) -> Traffic:
    """Count bits that live on chip, or off chip and come through a FIFO, in and out again."""
    if place == "chip":
        return Traffic(large_bits=bits)
    return Traffic(large_bits=2 * bits if buffered else 0, off_chip_bits=bits)
