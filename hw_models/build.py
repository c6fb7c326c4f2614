"""Build the network of a layout: the actor of each unit, in its static order, and the FIFOs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType

from cosim.design.arrange import beat_of
from cosim.design.attention import attention_shape
from cosim.design.design import Design
from cosim.design.kinds import Kind
from cosim.design.plan import HANDED_BEATS, STATE_FIFOS, Fifo, Layout, Task, Unit, weights_of
from cosim.design.rows import Flow
from cosim.design.shapes import (
    linear_shape,
    linear_shapes,
    order_groups,
    state_bits,
    widest_group_beats,
)
from cosim.design.sketch import Part
from cosim.design.tasks import Skeleton
from cosim.ir.errors import UserError
from cosim.machine import Machine, Port
from hw_models.network import NOTHING, Actor, Channel, Network, Pattern, Program
from hw_models.passes import ONE, Passes, repeated
from hw_models.units import (
    attention,
    ends,
    fir,
    hadamard,
    matrix,
    memory,
    norm,
    state,
    tiles,
    vector,
)

NO_PATTERNS: Mapping[str, Pattern] = MappingProxyType({})
SECTIONS: tuple[Part, ...] = ("before", "block", "after")


# One unit's firings in one part of the round; a task may need several units, such as its port.
Piece = tuple[str, Part, Program]
MOST_PIECES = 4000


def build_network(
    skeleton: Skeleton,
    layout: Layout,
    design: Design,
    machine: Machine,
    tokens: int = 1,
    feedback: bool = True,
    patterns: Mapping[str, Pattern] = NO_PATTERNS,
    passes: Passes = ONE,
) -> Network:
    """Return the network of one layout.

    Where the graph has no layers, the block is done `tokens` times. With `feedback` a token starts
    when the outputs of the last one are out, as when a model generates. `patterns` say of sources
    and sinks, by unit, in which cycles they may move beats; a unit of another layout is left out.
    `passes` are the tokens of a turn; those of a prompt do nothing after the layers, and have no
    feedback.
    """
    feedback = feedback and not passes.is_prompt
    if layout.tasks != skeleton.tasks:
        kinds = {u.name: u.kind for u in design.units}
        skeleton = replace(skeleton, tasks=layout.tasks, kinds=kinds)
    _check_beats(skeleton, layout, design)
    words = _feedback(layout) if feedback else []
    site = _Site.of(skeleton, layout, design, machine, tuple(words), passes)
    tasks = [t for t in layout.tasks if not passes.is_prompt or skeleton.in_prompt(t)]
    there = {t.name for t in tasks}
    fifos = [f for f in layout.fifos if {f.maker, f.taker} <= there]
    into: dict[str, list[Fifo]] = defaultdict(list)
    out: dict[str, list[Fifo]] = defaultdict(list)
    for fifo in fifos:
        into[fifo.taker].append(fifo)
        out[fifo.maker].append(fifo)
    programs: dict[str, tuple[list[Program], ...]] = defaultdict(lambda: ([], [], []))
    for task in tasks:
        for actor, part, program in _pieces(site, task, into[task.name], out[task.name]):
            programs[actor][SECTIONS.index(part)].append(program)
    turns = layout.layers if layout.layers > 1 else tokens
    actors = []
    for name, parts in programs.items():
        before, body, after = (_joined(site.made, p) for p in parts)
        loops = layout.layers - 1 if name.startswith("switch.") else turns
        actors.append(Actor(name, before, body, after, loops, patterns.get(name)))
    channels = {f.channel: Channel(f.depth) for f in fifos}
    channels |= dict.fromkeys(words, Channel(passes.count, passes.count))
    return Network(
        tuple(actors), channels | _memory_channels(site, tasks) | _order_channels(site, tasks)
    )


def _pieces(site: _Site, task: Task, into: list[Fifo], out: list[Fifo]) -> list[Piece]:
    """Return the firings of a task, or look up what they were in a design that is alike."""
    unit, kind = site.design.unit(task.unit), site.skeleton.kind(task)
    # The task stands for itself while it is kept with what was made of it; its order is long.
    key = (
        id(task), unit.lanes, unit.columns, site.number_for(kind),
        *((f.channel, f.beat) for f in into), *((f.channel, f.beat) for f in out),
    )  # fmt: skip
    known = site.made.pieces
    if key not in known:
        made = _FIRINGS[kind](site, Flow(site.skeleton, task, into, out))
        if kind not in {"matrix", "state", "fir"}:
            # These are alike for every pass.
            made = [(actor, part, repeated(p, site.passes.count)) for actor, part, p in made]
        known[key] = task, made
    return known[key][1]


@dataclass
class _Made:
    """Hold the programs that were made for a skeleton: by task and widths, and joined."""

    pieces: dict[tuple[object, ...], tuple[Task, list[Piece]]] = field(default_factory=dict)
    # Numbers of what else programs depend on: hashes of exact fractions are slow.
    numbers: dict[tuple[object, ...], int] = field(default_factory=dict)
    # What was joined is kept with its parts, so that no other program gets their numbers.
    joined: dict[tuple[int, ...], tuple[Program, list[Program]]] = field(default_factory=dict)


def _made(skeleton: Skeleton) -> _Made:
    made = skeleton.known.setdefault("programs", _Made())
    assert isinstance(made, _Made)
    if len(made.pieces) > MOST_PIECES:
        made.pieces.clear()
        made.joined.clear()
        made.numbers.clear()
    return made


def _joined(made: _Made, parts: list[Program]) -> Program:
    """Join the programs of a unit in one part."""
    if len(parts) < 2:
        return parts[0] if parts else NOTHING
    known, key = made.joined, tuple(id(p) for p in parts)
    if key not in known:
        known[key] = Program.join(parts), parts
    return known[key][0]


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


def _feedback(layout: Layout) -> list[str]:
    """Name the FIFOs by which every sink tells every source that it is done."""
    names = [t.name for t in layout.tasks]
    sources = [n for n in names if n.startswith("source.")]
    sinks = [n for n in names if n.startswith("sink.")]
    return [f"{end} -> {source}" for source in sources for end in sinks]


@dataclass(frozen=True)
class _Site:
    """Hold what every unit may look at while its firings are made, and both ports' shares."""

    skeleton: Skeleton
    layout: Layout
    design: Design
    weights: Port
    states: Port
    words: tuple[str, ...]
    passes: Passes

    @classmethod
    def of(
        cls,
        skeleton: Skeleton,
        layout: Layout,
        design: Design,
        machine: Machine,
        words: tuple[str, ...],
        passes: Passes,
    ) -> _Site:
        """Look at one layout of a design on a machine."""
        shares, source = (
            design.ports,
            next(m for m in machine.memories if m.name == design.ports.memory),
        )
        weights, states = (
            machine.port(source, Fraction(max(parts, 1), shares.parts))
            for parts in (shares.weight_parts, shares.state_parts)
        )
        return cls(skeleton, layout, design, weights, states, words, passes)

    @cached_property
    def made(self) -> _Made:
        """Return the programs that were made for designs that are alike."""
        return _made(self.skeleton)

    @cached_property
    def _numbers(self) -> tuple[int, int, int]:
        places = tuple(self.design.places.items())
        alike = (
            (self.passes,), (self.passes, self.words),
            (self.passes, self.weights, self.states, places, self.comes_back),
        )  # fmt: skip
        known = self.made.numbers
        few, ends, ports = (known.setdefault(key, len(known)) for key in alike)
        return few, ends, ports

    def number_for(self, kind: Kind) -> int:
        """Return a number for what the firings of a kind depend on beside their task and FIFOs."""
        few, ends, ports = self._numbers
        if kind in {"matrix", "state", "memory", "fir"}:
            return ports
        return ends if kind in {"source", "sink"} else few

    @property
    def comes_back(self) -> bool:
        """Tell whether the next turn works on the same states: there are no layers between."""
        return self.layout.layers == 1

    @property
    def shares_weights(self) -> bool:
        """Tell whether passes share a fetch of weights: there is one, and more than one pass."""
        return self.passes.in_tiles and self.design.places["weights"] == "memory"

    def unit(self, flow: Flow) -> Unit:
        """Return the unit that does a task."""
        return self.design.unit(flow.task.unit)


def _chain(site: _Site, flow: Flow) -> list[Piece]:
    return [(flow.task.unit, flow.task.part, vector.program(flow, site.unit(flow)))]


def _norm(site: _Site, flow: Flow) -> list[Piece]:
    return [(flow.task.unit, flow.task.part, norm.program(flow, site.unit(flow)))]


def _hadamard(site: _Site, flow: Flow) -> list[Piece]:
    return [(flow.task.unit, flow.task.part, hadamard.program(flow, site.unit(flow)))]


def _attention(site: _Site, flow: Flow) -> list[Piece]:
    shape = attention_shape(site.skeleton, flow.task, site.unit(flow))
    return [(flow.task.unit, flow.task.part, attention.program(flow, shape))]


def _fir(site: _Site, flow: Flow) -> list[Piece]:
    n, unit = site.passes.count, site.unit(flow)
    last = fir.program(flow, unit, site.comes_back)
    before = fir.program(flow, unit, site.comes_back or site.passes.is_prompt)
    program = Program.join([*([repeated(before, n - 1)] if n > 1 else []), last])
    return [(flow.task.unit, flow.task.part, program)]


def _matrix(site: _Site, flow: Flow) -> list[Piece]:
    unit, task = site.unit(flow), flow.task
    shape = linear_shape(site.skeleton, task)
    streamed = site.design.places["weights"] == "memory"
    into, shared = weights_of(unit), site.shares_weights
    beats, bits = shape.steps(unit, streamed=True), shape.beat_bits(unit)
    # One port serves both in static order, where the embedding is off chip too.
    port = "memory" if site.design.places["embedding"] == "memory" else "memory.weights"
    parts: dict[str, list[Program]] = defaultdict(list)
    for tile in site.passes.tiles:
        if shared:
            parts[unit.name].append(tiles.products(flow, unit, shape, tile))
            sort, emit = tiles.order(flow, unit, shape, tile)
            parts[f"{unit.name}.sort"].append(sort)
            parts[f"{unit.name}.emit"].append(emit)
            kept = tiles.kept_weights(task.name, unit, shape, tile)
            parts[f"{unit.name}.weights"].append(kept)
        else:
            parts[unit.name] += [matrix.program(flow, unit, shape, streamed)] * tile
        if streamed:
            fifo = f"{into}{tiles.FETCHED}" if shared else into
            parts[port].append(memory.weights(task.name, fifo, beats, bits, site.weights))
    return [(actor, task.part, Program.join(p)) for actor, p in parts.items()]


def _state(site: _Site, flow: Flow) -> list[Piece]:
    unit, task, passes = site.unit(flow), flow.task, site.passes
    bits, n = _streamed_state(site, task), passes.count
    held = passes.is_prompt  # on chip from a turn's first pass to its last
    off = bits > 0
    each = [
        state.program(
            flow, unit, off, site.comes_back or (held and p < n - 1),
            reads=not held or p == 0, writes=not held or p == n - 1,
        )
        for p in range(n)
    ]  # fmt: skip
    found: list[Piece] = [(unit.name, task.part, each[0] if n == 1 else Program.join(each))]
    if off:
        beats = -(-task.span // unit.lanes)
        beat_bits, times = -(-bits // beats), 1 if held else n
        read = memory.read_states(task.name, beats, beat_bits, site.states)
        found.append(("state.read", task.part, repeated(read, times)))
        written = memory.write_states(task.name, beats, beat_bits, site.states)
        found.append(("state.write", task.part, repeated(written, times)))
    return found


def _streamed_state(site: _Site, task: Task) -> int:
    """Return the bits of the states that a task takes from off chip; 0: none."""
    if site.design.places["states"] == "chip":
        return 0
    return state_bits(site.skeleton, task)


def _memory(site: _Site, flow: Flow) -> list[Piece]:
    port = site.weights if site.design.places["embedding"] == "memory" else None
    return [("memory", flow.task.part, memory.embedding(flow, site.unit(flow), port))]


def _switch(site: _Site, flow: Flow) -> list[Piece]:
    programs = ends.switch(flow, site.unit(flow))
    return [(flow.task.unit, part, p) for part, p in zip(SECTIONS, programs, strict=True)]


def _source(site: _Site, flow: Flow) -> list[Piece]:
    words = [w for w in site.words if w.endswith(f"-> {flow.task.name}")]
    return [(flow.task.unit, flow.task.part, ends.source(flow, site.unit(flow), words))]


def _sink(site: _Site, flow: Flow) -> list[Piece]:
    words = [w for w in site.words if w.startswith(f"{flow.task.name} ->")]
    return [(flow.task.unit, flow.task.part, ends.sink(flow, site.unit(flow), words))]


_FIRINGS: dict[str, Callable[[_Site, Flow], list[Piece]]] = {
    "attention": _attention,
    "vector": _chain,
    "norm": _norm,
    "hadamard": _hadamard,
    "fir": _fir,
    "matrix": _matrix,
    "state": _state,
    "memory": _memory,
    "switch": _switch,
    "source": _source,
    "sink": _sink,
}


def _memory_channels(site: _Site, tasks: Sequence[Task]) -> dict[str, Channel]:
    """Return the FIFOs between the ports of the memory and the units."""
    found: dict[str, Channel] = {}
    words = beats = 0
    for task in tasks:
        unit, kind = site.design.unit(task.unit), site.skeleton.kind(task)
        if kind == "matrix" and site.design.places["weights"] == "memory":
            found[weights_of(unit)] = Channel(site.design.ports.prefetch_beats)
        if kind == "state" and _streamed_state(site, task):
            beats = max(beats, -(-task.span // unit.lanes))
            words += site.layout.layers * (1 if site.passes.is_prompt else site.passes.count)
            given = dict(site.design.choices.depths)
            for name in STATE_FIFOS:
                found[name] = Channel(given.get(name, beats))
            found[memory.STATE_WRITTEN] = Channel(words, words)
    return found


def _order_channels(site: _Site, tasks: Sequence[Task]) -> dict[str, Channel]:
    """Return the FIFOs round the memories that keep a tile's weights and turn its results round."""
    if not site.shares_weights:
        return {}
    found: dict[str, Channel] = {}
    for unit in site.design.units:
        own = {t.name for t in tasks if t.unit == unit.name}
        shapes = [(s, n) for s, n in linear_shapes(site.skeleton) if s.task in own]
        if unit.kind == "matrix" and shapes:
            room = order_groups(shapes, unit, len(site.passes.tiles))
            deep = max(widest_group_beats(shapes, unit), site.design.ports.prefetch_beats)
            found[weights_of(unit)] = Channel(HANDED_BEATS)
            found[f"{weights_of(unit)}{tiles.FETCHED}"] = Channel(deep)
            found[f"{unit.name}{tiles.SUMS}"] = Channel(matrix.stages(unit.columns) + 2)
            found[f"{unit.name}{tiles.STORED}"] = Channel(room)
            found[f"{unit.name}{tiles.ROOM}"] = Channel(room, room)
    return found
