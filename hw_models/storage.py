"""Account for what a model keeps: how much of what, where it lives, and what a token moves of it.

Glossary of purposes: `weights` of linear layers with their scales; `embedding`; `tables` of
nonlinear functions; `constants` of everything else; `states` that a recurrence updates whole;
`windows` of the last inputs of a short convolution; `kv`, the same kept for anything but a
convolution, as a cache of keys and values is; `sequences` between the segments of a window;
`spills`, what FIFOs hand on through the memory because the chip has no room for it.
What depends on the workload: every sequence of a batch keeps its own states, windows and caches;
tokens that share a fetch of weights, or hand a state on to one another on chip, each have their
share of it; of a cache, as many tokens are read as the sequence has seen, if it has such room.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from cosim.design import Design, Layout, graph_kinds
from cosim.design.drawn import is_drawn
from cosim.design.plan import Place
from cosim.design.sketch import folded_name
from cosim.design.tasks import Skeleton
from cosim.design.traffic import spilt_bits
from cosim.ir.graph import Graph, Node
from cosim.ir.model import Model
from cosim.ops import Linear
from hw_models.offchip import constants_of_node, is_window, spilt_fifos, window_moves

Purpose = Literal[
    "weights", "embedding", "tables", "constants", "states", "windows", "kv", "sequences", "spills"
]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


@dataclass(frozen=True)
class Stored:
    """Say of one purpose what is kept, and what one token reads and writes of it, in bytes."""

    purpose: Purpose
    place: Place
    kept_bytes: float
    read_bytes: float
    written_bytes: float


def account(model: Model, design: Design) -> tuple[Stored, ...]:
    """Return a row per purpose and place that the model has, in the order of `PURPOSES`.

    Moved is what a token of the design's workload moves; a prompt is read without what follows the
    layers.
    """
    chosen = design.choices
    kinds = graph_kinds(model, chosen.order, chosen.fused, chosen.matrix)
    ledger = _Ledger()
    segments = {s.name: s.graph for s in model.segments}
    for kind in kinds:
        for name in kind.segments:
            _graph(ledger, segments[name], kind.skeleton, design)
    _sequences(ledger, model, design)
    for kind, layout in zip(kinds, design.layouts, strict=True):
        _spills(ledger, kind.skeleton, layout, design)
    return ledger.rows()


class _Ledger:
    """Add up bits by purpose and place."""

    def __init__(self) -> None:
        """Start empty."""
        self.bits: dict[tuple[Purpose, Place], dict[str, float]] = {}

    def add(
        self, purpose: Purpose, place: Place, kept: int = 0, read: float = 0, written: float = 0
    ) -> None:
        """Enter bits."""
        own = self.bits.setdefault((purpose, place), {"kept": 0, "read": 0, "written": 0})
        for name, bits in (("kept", kept), ("read", read), ("written", written)):
            own[name] += bits

    def rows(self) -> tuple[Stored, ...]:
        """Return what was entered, in bytes."""
        return tuple(
            Stored(purpose, place, own["kept"] / 8, own["read"] / 8, own["written"] / 8)
            for (purpose, place), own in sorted(
                self.bits.items(), key=lambda item: PURPOSES.index(item[0][0])
            )
        )


def _graph(ledger: _Ledger, graph: Graph, skeleton: Skeleton, design: Design) -> None:
    """Enter the constants and states of one step graph."""
    makers = {s.next: name for name, s in graph.states.items()}
    entered: set[str] = set()
    names = _names(graph, skeleton)
    chosen, load = design.choices, design.choices.workload
    moves = float(chosen.state_moves)
    for node in graph.nodes:
        work = node.op.work(graph.input_types(node), graph.types[node.name])
        task = skeleton.maker.get(names[node.name], "")
        done = not (load.is_prompt and task) or skeleton.in_prompt(skeleton.task(task))
        purpose, place = _constant(node, design)
        own = skeleton.sketch.node(names[node.name])
        fixed = constants_of_node(skeleton, design, graph, node, own, work)
        new = [n for n in node.inputs if n in graph.consts and n not in entered]
        entered.update(new)
        if fixed.drawn:
            away = sum(
                graph.types[n].size_bits for n, o in zip(node.inputs, own.inputs, strict=True)
                if n in new and is_drawn(skeleton, own, o)
            )  # fmt: skip
            shares = float(chosen.constant_moves)
            ledger.add("constants", "memory", away, fixed.drawn * shares if done else 0)
            new = [n for n, o in zip(node.inputs, own.inputs, strict=True)
                   if n in new and not is_drawn(skeleton, own, o)]  # fmt: skip
        if new or fixed.beside:
            kept = sum(graph.types[n].size_bits for n in new)
            read: float = sum(bits * n for bits, n in work.lookups.items())
            if purpose != "tables":
                shared = purpose == "weights" and place == "memory"
                read = fixed.beside * (float(chosen.turns.fetches) if shared else 1)
            ledger.add(purpose, place, kept, read if done else 0)
        in_state_unit = bool(task) and skeleton.kind(skeleton.task(task)) == "state"
        where: Place = design.places["states"] if in_state_unit else "chip"
        if node.op.name == "push":
            kind: Purpose = _kept_for(graph, node)
            read = work.state_read_bits * seen_share(graph, node, load.context)
            kept = graph.types[node.name].size_bits * load.batch
            written: float = work.state_write_bits
            if off := float(window_moves(design, graph, node)):
                # Whole words go back: all that the window keeps, not its newest value alone.
                where, read = "memory", work.state_read_bits * off
                written = read
            ledger.add(kind, where, kept, read, written)
            continue
        share = moves if where == "memory" else 1
        for operand in node.inputs:
            if operand in graph.states:
                ledger.add("states", where, read=graph.types[operand].size_bits * share)
        if node.name in makers:
            bits = graph.types[node.name].size_bits
            ledger.add("states", where, bits * load.batch, written=bits * share)


def _constant(node: Node, design: Design) -> tuple[Purpose, Place]:
    if isinstance(node.op, Linear):
        return "weights", design.places["weights"]
    if node.op.name == "embed":
        return "embedding", design.places["embedding"]
    return ("tables" if node.op.name in {"pwl", "pwl_log"} else "constants"), "chip"


def seen_share(graph: Graph, push: Node, context: int) -> float:
    """Return the share of what is kept before this token that it reads.

    A window is read whole, the zeros before the first token too; of a cache, what has been filled.
    """
    places = graph.types[push.name].shape[0] - 1
    if places < 1 or _kept_for(graph, push) != "kv":
        return 1.0
    return min(context, places) / places


def has_cache(graph: Graph) -> bool:
    """Tell whether a graph keeps what grows with the context: a cache of keys and values."""
    return any(_kept_for(graph, n) == "kv" for n in graph.nodes if n.op.name == "push")


def _kept_for(graph: Graph, push: Node) -> Purpose:
    """Tell a convolution's window from a cache."""
    return "windows" if is_window(graph, push) else "kv"


def _names(graph: Graph, skeleton: Skeleton) -> dict[str, str]:
    """Return each node's name in the sketch; segments of one kind have the same order."""
    sketch = skeleton.sketch
    if sketch.layers > 1:
        return {n.name: folded_name(n.name) for n in graph.nodes}
    return {n.name: s.name for n, s in zip(graph.nodes, sketch.nodes, strict=True)}


def _sequences(ledger: _Ledger, model: Model, design: Design) -> None:
    """Enter what segments hand on over a window: written once, read by each that is wired to it."""
    if design.window <= 1:
        return
    readers = Counter(source for s in model.segments for source in s.wires.values())
    for segment in model.segments:
        for name, value in segment.graph.outputs.items():
            uses = readers[f"{segment.name}.{name}"]
            if uses:
                bits = segment.graph.types[value].size_bits
                place = design.places["sequences"]
                ledger.add("sequences", place, bits * design.window, bits * uses, bits)


def _spills(ledger: _Ledger, skeleton: Skeleton, layout: Layout, design: Design) -> None:
    """Enter the FIFOs that go through the memory; layers use the same room in turn."""
    for fifo in spilt_fifos(skeleton, layout, design.choices.workload.is_prompt):
        turns = layout.layers if layout.task(fifo.maker).part == "block" else 1
        bits = spilt_bits(skeleton, fifo) * turns * len(layout.segments)
        ledger.add("spills", "memory", fifo.depth * fifo.width_bits, bits, bits)
