"""Make the firings of a task by the kind of its unit, and the ports of the memory it needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction

from cosim.design.attention import attention_shape
from cosim.design.drawn import constant_bits, window_bits
from cosim.design.plan import (
    Task,
    Unit,
    weights_of,
)
from cosim.design.rows import Flow
from cosim.design.shapes import (
    linear_shape,
    state_bits,
)
from cosim.design.sketch import Part
from hw_models import away
from hw_models.network import Program
from hw_models.passes import repeated
from hw_models.site import Piece, Site
from hw_models.steps import Draws
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

SECTIONS: tuple[Part, ...] = ("before", "block", "after")


def _chain(site: Site, flow: Flow) -> list[Piece]:
    return _drawing(site, flow, vector.program)


def _norm(site: Site, flow: Flow) -> list[Piece]:
    return _drawing(site, flow, norm.program)


def _drawing(
    site: Site, flow: Flow, make: Callable[[Flow, Unit, Draws | None], Program]
) -> list[Piece]:
    """Return the firings of every pass; the first draws the constants for all of them."""
    unit, n, draws = site.unit(flow), site.passes.count, site.draws(flow)
    if draws is None:
        return [(unit.name, flow.task.part, repeated(make(flow, unit, None), n))]
    passes = [make(flow, unit, draws)]
    if n > 1:
        passes.append(repeated(make(flow, unit, None), n - 1))
    return [(unit.name, flow.task.part, Program.join(passes)), *_constants(site, flow, draws)]


def _constants(site: Site, flow: Flow, draws: Draws | None) -> list[Piece]:
    """Return the port that brings a task its constants once a turn."""
    if draws is None:
        return []
    bits, beats = constant_bits(site.skeleton, flow.task), int(draws.steps.sum())
    port = site.port("constants", away.constant_part(site.skeleton, flow.task.unit))
    program = memory.fetched(flow.task.name, draws.fifo, beats, -(-bits // beats), port)
    return [(f"constants.read.{flow.task.unit}", flow.task.part, program)]


def _hadamard(site: Site, flow: Flow) -> list[Piece]:
    return [(flow.task.unit, flow.task.part, hadamard.program(flow, site.unit(flow)))]


def _attention(site: Site, flow: Flow) -> list[Piece]:
    shape = attention_shape(site.skeleton, flow.task, site.unit(flow))
    return [(flow.task.unit, flow.task.part, attention.program(flow, shape))]


def _fir(site: Site, flow: Flow) -> list[Piece]:
    n, unit, task, draws = site.passes.count, site.unit(flow), flow.task, site.draws(flow)
    bits, held = window_bits(site.skeleton, task), site.passes.is_prompt
    off = bits > 0 and site.design.places["windows"] == "memory"
    each = [
        fir.program(
            flow, unit, site.comes_back or (held and p < n - 1),
            reads=off and (not held or p == 0), writes=off and (not held or p == n - 1),
            draws=None if p else draws,
        )
        for p in range(n)
    ]  # fmt: skip
    found: list[Piece] = [(unit.name, task.part, each[0] if n == 1 else Program.join(each))]
    if off:
        beats, port = -(-task.span // unit.lanes), site.port("windows", Fraction(1, 2))
        found += away.both_ways("window", task, beats, -(-bits // beats), port, 1 if held else n)
    return found + _constants(site, flow, draws)


def _matrix(site: Site, flow: Flow) -> list[Piece]:
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
            parts[port].append(memory.fetched(task.name, fifo, beats, bits, site.weights))
    return [(actor, task.part, Program.join(p)) for actor, p in parts.items()]


def _state(site: Site, flow: Flow) -> list[Piece]:
    unit, task, passes = site.unit(flow), flow.task, site.passes
    bits, n = streamed_state(site, task), passes.count
    held = passes.is_prompt  # on chip from a turn's first pass to its last
    off, draws = bits > 0, site.draws(flow)
    each = [
        state.program(
            flow, unit, off, site.comes_back or (held and p < n - 1),
            reads=not held or p == 0, writes=not held or p == n - 1, draws=None if p else draws,
        )
        for p in range(n)
    ]  # fmt: skip
    found: list[Piece] = [(unit.name, task.part, each[0] if n == 1 else Program.join(each))]
    if off:
        beats = -(-task.span // unit.lanes)
        times = 1 if held else n
        found += away.both_ways("state", task, beats, -(-bits // beats), site.states, times)
    return found + _constants(site, flow, draws)


def streamed_state(site: Site, task: Task) -> int:
    """Return the bits of the states that a task takes from off chip; 0: none."""
    if site.design.places["states"] == "chip":
        return 0
    return state_bits(site.skeleton, task)


def _memory(site: Site, flow: Flow) -> list[Piece]:
    port = site.weights if site.design.places["embedding"] == "memory" else None
    return [("memory", flow.task.part, memory.embedding(flow, site.unit(flow), port))]


def _switch(site: Site, flow: Flow) -> list[Piece]:
    programs = ends.switch(flow, site.unit(flow))
    return [(flow.task.unit, part, p) for part, p in zip(SECTIONS, programs, strict=True)]


def _source(site: Site, flow: Flow) -> list[Piece]:
    words = [w for w in site.words if w.endswith(f"-> {flow.task.name}")]
    draws, port = away.sequence(site.skeleton, site.layout, site.design, flow.task, site.port)
    own = ends.source(flow, site.unit(flow), words, draws)
    return [(flow.task.unit, flow.task.part, own), *port]


def _sink(site: Site, flow: Flow) -> list[Piece]:
    words = [w for w in site.words if w.startswith(f"{flow.task.name} ->")]
    draws, port = away.sequence(site.skeleton, site.layout, site.design, flow.task, site.port)
    own = ends.sink(flow, site.unit(flow), words, draws.fifo if draws else "")
    return [(flow.task.unit, flow.task.part, own), *port]


FIRINGS: dict[str, Callable[[Site, Flow], list[Piece]]] = {
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
