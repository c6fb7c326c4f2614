"""Build the network of a layout: the actor of each unit, in its static order, and the FIFOs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType

from cosim.design.arrange import beat_of
from cosim.design.design import Design
from cosim.design.plan import Layout, Unit
from cosim.design.shapes import linear_shape, state_bits
from cosim.design.sketch import Part
from cosim.design.tasks import Skeleton
from cosim.ir.errors import UserError
from cosim.machine import Machine, Port
from hw_models.network import Actor, Channel, Network, Pattern, Program
from hw_models.steps import Flow
from hw_models.units import ends, fir, hadamard, matrix, memory, norm, state, vector

NO_PATTERNS: Mapping[str, Pattern] = MappingProxyType({})
SECTIONS: tuple[Part, ...] = ("before", "block", "after")


@dataclass
class _Plan:
    """Collect programs by actor and part while a network is built."""

    programs: dict[str, dict[Part, list[Program]]] = field(
        default_factory=lambda: defaultdict(lambda: {"before": [], "block": [], "after": []})
    )
    loops: dict[str, int] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)

    def add(self, actor: str, part: Part, program: Program) -> None:
        """Let an actor do a program after what it already does in that part."""
        self.programs[actor][part].append(program)


def build_network(
    skeleton: Skeleton,
    layout: Layout,
    design: Design,
    machine: Machine,
    tokens: int = 1,
    feedback: bool = True,
    patterns: Mapping[str, Pattern] = NO_PATTERNS,
) -> Network:
    """Return the network of one layout.

    Where the graph has no layers, the block is done `tokens` times. With `feedback` a token starts
    when the outputs of the last one are out, as when a model generates. `patterns` say of sources
    and sinks, by unit, in which cycles they may move beats; a unit of another layout is left out.
    """
    kinds = {u.name: u.kind for u in design.units}
    skeleton = replace(skeleton, tasks=layout.tasks, kinds=kinds)
    _check_beats(skeleton, layout, design)
    plan = _Plan()
    turns = layout.layers if layout.layers > 1 else tokens
    for fifo in layout.fifos:
        plan.channels[fifo.name] = Channel(fifo.depth)
    words = _feedback(layout, plan) if feedback else []
    for task in layout.tasks:
        into = [f for f in layout.fifos if f.taker == task.name]
        out = [f for f in layout.fifos if f.maker == task.name]
        _ADD[skeleton.kind(task)](_Site(skeleton, layout, design, machine, plan, words), Flow(
            skeleton, task, into, out
        ))  # fmt: skip
    actors = []
    for name, parts in plan.programs.items():
        before, body, after = (Program.join(parts[p]) for p in SECTIONS)
        loops, pattern = plan.loops.get(name, turns), patterns.get(name)
        actors.append(Actor(name, before, body, after, loops, pattern))
    return Network(tuple(actors), plan.channels)


def _check_beats(skeleton: Skeleton, layout: Layout, design: Design) -> None:
    """Raise UserError where a FIFO's beats are not those that its maker's unit gives."""
    for fifo in layout.fifos:
        task = layout.task(fifo.maker)
        size = skeleton.sketch.types[fifo.value].size
        given = beat_of(design.unit(task.unit).lanes, size, task.span)
        if fifo.beat != given:
            raise UserError(
                f"FIFO {fifo.name!r} has beats of {fifo.beat} elements, but unit {task.unit} gives "
                f"{given} at a time; build the design anew with these lanes"
            )


def _feedback(layout: Layout, plan: _Plan) -> list[str]:
    """Join every sink to every source by a word that is there at the start."""
    words = []
    for source in (t for t in layout.tasks if t.name.startswith("source.")):
        for end in (t for t in layout.tasks if t.name.startswith("sink.")):
            words.append(f"{end.name} -> {source.name}")
            plan.channels[words[-1]] = Channel(1, 1)
    return words


@dataclass(frozen=True)
class _Site:
    """Hold what every unit may look at while its firings are added."""

    skeleton: Skeleton
    layout: Layout
    design: Design
    machine: Machine
    plan: _Plan
    words: list[str]

    @property
    def comes_back(self) -> bool:
        """Tell whether the next turn works on the same states: there are no layers between."""
        return self.layout.layers == 1

    def port(self, parts: int) -> Port:
        """Return the port that has a share of the memory."""
        source = next(m for m in self.machine.memories if m.name == self.design.ports.memory)
        return self.machine.port(source, Fraction(parts, self.design.ports.parts))


def _add_chain(site: _Site, flow: Flow) -> None:
    site.plan.add(flow.task.unit, flow.task.part, vector.program(flow, _unit(site, flow)))


def _add_norm(site: _Site, flow: Flow) -> None:
    site.plan.add(flow.task.unit, flow.task.part, norm.program(flow, _unit(site, flow)))


def _add_hadamard(site: _Site, flow: Flow) -> None:
    site.plan.add(flow.task.unit, flow.task.part, hadamard.program(flow, _unit(site, flow)))


def _add_fir(site: _Site, flow: Flow) -> None:
    program = fir.program(flow, _unit(site, flow), site.comes_back)
    site.plan.add(flow.task.unit, flow.task.part, program)


def _add_matrix(site: _Site, flow: Flow) -> None:
    unit, task = _unit(site, flow), flow.task
    shape = linear_shape(site.skeleton, task)
    streamed = site.design.places["weights"] == "memory"
    site.plan.add(task.unit, task.part, matrix.program(flow, unit, shape, streamed))
    if streamed:
        beats, bits = shape.steps(unit, streamed=True), shape.beat_bits(unit)
        # One port serves both in static order, where the embedding is off chip too.
        port = "memory" if site.design.places["embedding"] == "memory" else "memory.weights"
        into = matrix.weights_of(unit)
        fetched = site.port(site.design.ports.weight_parts)
        program = memory.weights(task.name, into, beats, bits, fetched)
        site.plan.add(port, task.part, program)
        site.plan.channels[into] = Channel(site.design.ports.prefetch_beats)


def _add_state(site: _Site, flow: Flow) -> None:
    unit, task = _unit(site, flow), flow.task
    off_chip = site.design.places["states"] == "memory" and state_bits(site.skeleton, task) > 0
    program = state.program(flow, unit, off_chip, site.comes_back)
    site.plan.add(task.unit, task.part, program)
    if off_chip:
        beats = -(-task.span // unit.lanes)
        bits = -(-state_bits(site.skeleton, task) // beats)
        port, add = site.port(site.design.ports.state_parts), site.plan.add
        add("state.read", task.part, memory.read_states(task.name, beats, bits, port))
        add("state.write", task.part, memory.write_states(task.name, beats, bits, port))
        old = site.plan.channels.get(state.STATE_IN, Channel(1))
        for name in (state.STATE_IN, state.STATE_OUT):
            site.plan.channels[name] = Channel(max(beats, old.depth))
        words = site.plan.channels.get(memory.STATE_WRITTEN, Channel(1, 0)).initial
        words += site.layout.layers
        site.plan.channels[memory.STATE_WRITTEN] = Channel(words, words)


def _add_memory(site: _Site, flow: Flow) -> None:
    off_chip = site.design.places["embedding"] == "memory"
    port = site.port(max(site.design.ports.weight_parts, 1)) if off_chip else None
    program = memory.embedding(flow, _unit(site, flow), port)
    site.plan.add("memory", flow.task.part, program)


def _add_switch(site: _Site, flow: Flow) -> None:
    for part, program in zip(SECTIONS, ends.switch(flow, _unit(site, flow)), strict=True):
        site.plan.add(flow.task.unit, part, program)
    site.plan.loops[flow.task.unit] = site.layout.layers - 1


def _add_source(site: _Site, flow: Flow) -> None:
    words = [w for w in site.words if w.endswith(f"-> {flow.task.name}")]
    program = ends.source(flow, _unit(site, flow), words)
    site.plan.add(flow.task.unit, flow.task.part, program)


def _add_sink(site: _Site, flow: Flow) -> None:
    words = [w for w in site.words if w.startswith(f"{flow.task.name} ->")]
    site.plan.add(flow.task.unit, flow.task.part, ends.sink(flow, _unit(site, flow), words))


def _unit(site: _Site, flow: Flow) -> Unit:
    return site.design.unit(flow.task.unit)


_ADD: dict[str, Callable[[_Site, Flow], None]] = {
    "vector": _add_chain,
    "norm": _add_norm,
    "hadamard": _add_hadamard,
    "fir": _add_fir,
    "matrix": _add_matrix,
    "state": _add_state,
    "memory": _add_memory,
    "switch": _add_switch,
    "source": _add_source,
    "sink": _add_sink,
}
