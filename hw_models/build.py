"""Build the network of a layout: the actor of each unit, in its static order, and the FIFOs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from cosim.design.account import drawn_depths
from cosim.design.arrange import beat_of
from cosim.design.design import Design
from cosim.design.drawn import window_bits
from cosim.design.plan import (
    HANDED_BEATS,
    STATE_FIFOS,
    WINDOW_FIFOS,
    Fifo,
    Layout,
    Task,
    weights_of,
)
from cosim.design.rows import Flow
from cosim.design.shapes import (
    linear_shapes,
    order_groups,
    widest_group_beats,
)
from cosim.design.tasks import Skeleton
from cosim.ir.errors import UserError
from cosim.machine import Machine
from hw_models import away
from hw_models.firings import FIRINGS, SECTIONS, streamed_state
from hw_models.network import NOTHING, Actor, Channel, Network, Pattern, Program
from hw_models.passes import ONE, Passes, repeated
from hw_models.site import Made, Piece, Site
from hw_models.units import matrix, memory, tiles

NO_PATTERNS: Mapping[str, Pattern] = MappingProxyType({})


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
    site = Site.of(skeleton, layout, design, machine, tuple(words), passes)
    tasks = [t for t in layout.tasks if not passes.is_prompt or skeleton.in_prompt(t)]
    there = {t.name for t in tasks}
    fifos = [f for f in layout.fifos if {f.maker, f.taker} <= there]
    into: dict[str, list[Fifo]] = defaultdict(list)
    out: dict[str, list[Fifo]] = defaultdict(list)
    for fifo in fifos:
        into[fifo.taker].append(away.back(fifo))
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
    channels = {f.channel: Channel(f.places_on_chip) for f in fifos} | away.spilt_channels(fifos)
    channels |= dict.fromkeys(words, Channel(passes.count, passes.count))
    return Network(
        tuple(actors),
        channels | _memory_channels(site, tasks) | _order_channels(site, tasks)
        | away.sequence_channels(layout, design),
    )  # fmt: skip


def _pieces(site: Site, task: Task, into: list[Fifo], out: list[Fifo]) -> list[Piece]:
    """Return the firings of a task, or look up what they were in a design that is alike."""
    unit, kind = site.design.unit(task.unit), site.skeleton.kind(task)
    # The task stands for itself while it is kept with what was made of it; its order is long.
    key = (
        id(task), unit.lanes, unit.columns, site.number_for(kind),
        *((f.channel, f.beat) for f in into), *((f.channel, f.beat, f.near) for f in out),
    )  # fmt: skip
    known = site.made.pieces
    if key not in known:
        made = FIRINGS[kind](site, Flow(site.skeleton, task, into, out))
        if kind not in {"matrix", "state", "fir", "vector", "norm"}:
            # These are alike for every pass.
            made = [(actor, part, repeated(p, site.passes.count)) for actor, part, p in made]
        known[key] = task, made + away.spilt(site.skeleton, task, out, site.passes, site.port)
    return known[key][1]


def _joined(made: Made, parts: list[Program]) -> Program:
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


def _memory_channels(site: Site, tasks: Sequence[Task]) -> dict[str, Channel]:
    """Return the FIFOs between the ports of the memory and the units."""
    drawn = drawn_depths(site.design, site.skeleton) if site.design.ports.others else {}
    found = {name: Channel(depth) for name, (depth, _) in drawn.items()}
    words = beats = windows = 0
    for task in tasks:
        unit, kind = site.design.unit(task.unit), site.skeleton.kind(task)
        if kind == "matrix" and site.design.places["weights"] == "memory":
            found[weights_of(unit)] = Channel(site.design.ports.prefetch_beats)
        if kind == "fir" and WINDOW_FIFOS[0] in drawn and window_bits(site.skeleton, task):
            windows += site.layout.layers * (1 if site.passes.is_prompt else site.passes.count)
            found[memory.WINDOW_WRITTEN] = Channel(windows, windows)
        if kind == "state" and streamed_state(site, task):
            beats = max(beats, -(-task.span // unit.lanes))
            words += site.layout.layers * (1 if site.passes.is_prompt else site.passes.count)
            given = dict(site.design.choices.depths)
            for name in STATE_FIFOS:
                found[name] = Channel(given.get(name, beats))
            found[memory.STATE_WRITTEN] = Channel(words, words)
    return found


def _order_channels(site: Site, tasks: Sequence[Task]) -> dict[str, Channel]:
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
