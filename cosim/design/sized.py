"""Lay a design out from its choices: units, tasks, FIFOs, and what they take."""

from __future__ import annotations

from dataclasses import replace

from cosim.design.account import count_resources, what_binds
from cosim.design.arrange import fifos_of
from cosim.design.attention import widest_lanes
from cosim.design.choices import Choices, Lanes
from cosim.design.design import Design
from cosim.design.graph_kind import GraphKind, graph_kinds
from cosim.design.plan import PLACES, STATE_FIFOS, WINDOW_FIFOS, Layout, Place, Unit, constants_of
from cosim.design.shapes import linear_shapes, state_bits, state_tasks
from cosim.design.traffic import share_memory
from cosim.design.workload import Workload
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from cosim.machine.board import BRAM_BITS, URAM_BITS

CHIP_SHARE = 0.5


def sized_design(model: Model, machine: Machine, choices: Choices | Lanes) -> Design:
    """Map a model on a machine as it is chosen, whether or not it fits; see `default_design`.

    Widths alone stand for `Choices(widths)`. Raise UserError where a choice names what is not
    there.
    """
    choices = Choices(choices) if isinstance(choices, Lanes) else choices
    kinds = graph_kinds(model, choices.order, choices.fused, choices.matrix)
    return laid_out(model, machine, kinds, choices)


def laid_out(model: Model, machine: Machine, kinds: list[GraphKind], choices: Choices) -> Design:
    """Lay a design out from the kinds of graphs that the choices ask for."""
    if choices.places is None:
        chosen = default_places(kinds, machine, choices.workload.batch)
        choices = replace(choices, places=tuple(chosen.items()))
    if model.is_causal:
        choices = replace(choices, window=1)
    given = dict(choices.places or ())
    places: dict[str, Place] = {name: given.get(name, "chip") for name in PLACES}
    choices = replace(choices, places=tuple(places.items()))
    units = _units(kinds, choices)
    layouts = tuple(
        Layout(k.skeleton.sketch.name, k.segments, k.skeleton.sketch.layers, k.skeleton.tasks,
               fifos_of(k.skeleton, units, choices), _sequences(model, k))
        for k in kinds
    )  # fmt: skip
    # Those of states are there where a search moves states off the chip and on again.
    here = {f.channel for layout in layouts for f in layout.fifos}
    drawn = {*STATE_FIFOS, *WINDOW_FIFOS, *map(constants_of, units)}
    for name, _ in choices.depths:
        if name not in here | drawn:
            raise UserError(
                f"choices: no FIFO is called {name!r}; give a depth to one of the design"
            )
    for name in choices.spills:
        if name not in here:
            raise UserError(f"choices: no FIFO is called {name!r}; spill one of the design")
    ports = share_memory(kinds, layouts, places, machine, choices)
    draft = Design(
        model.name, machine.name, choices, tuple(units.values()), layouts, places, ports,
        {}, machine.usable(), "",
    )  # fmt: skip
    used, outside = count_resources(draft, model, kinds, machine)
    binds = what_binds(draft, kinds, machine)
    return replace(draft, resources=used, outside=outside, binds=binds)


def doing(design: Design, kinds: list[GraphKind], machine: Machine, workload: Workload) -> Design:
    """Return the same hardware doing another workload: what changes are the memory's shares.

    These are a table that can be written between two phases. Raise UserError where the design has
    no room for so many sequences.
    """
    room = design.choices.workload.batch
    if workload.batch > room:
        raise UserError(
            f"the design of {design.model} keeps the states of {room} sequences, not of "
            f"{workload.batch}; make one for this batch"
        )
    choices = replace(design.choices, workload=workload)
    ports = share_memory(kinds, design.layouts, design.places, machine, choices)
    other = replace(design, choices=choices, ports=ports)
    return replace(other, binds=what_binds(other, kinds, machine))


def _sequences(model: Model, kind: GraphKind) -> tuple[str, ...]:
    """Return the sources and sinks whose values go from one segment to another over a window."""
    sketch, makers = kind.skeleton.sketch, {s.name for s in model.segments}
    used = {source for s in model.segments for source in s.wires.values()}
    found: dict[str, None] = {}
    for segment in model.segments:
        if segment.name in kind.segments:
            # Segments of one kind have the same inputs and outputs in the same order.
            for name, own in zip(sketch.inputs, segment.graph.inputs, strict=True):
                if segment.wires[own].rpartition(".")[0] in makers:
                    found[f"source.{name}"] = None
            for name, own in zip(sketch.outputs, segment.graph.outputs, strict=True):
                if f"{segment.name}.{own}" in used:
                    found[f"sink.{name}"] = None
    return tuple(found)


def _units(kinds: list[GraphKind], choices: Choices) -> dict[str, Unit]:
    """Return the units by name, as wide as their kind or they themselves are to be."""
    lanes = choices.lanes
    units: dict[str, Unit] = {}
    for kind in kinds:
        for name, sort in kind.skeleton.kinds.items():
            wide = {"matrix": lanes.rows, "state": lanes.state}.get(sort, lanes.chain)
            if sort == "attention":
                wide = widest_lanes(kind.skeleton, lanes.state)
            units[name] = Unit(name, sort, wide, lanes.columns if sort == "matrix" else 1)
    for unit in choices.units:
        if unit.name not in units or units[unit.name].kind != unit.kind:
            known = ", ".join(f"{u.name} ({u.kind})" for u in units.values())
            raise UserError(
                f"choices: no unit is called {unit.name!r} of kind {unit.kind!r}; the design has "
                f"{known}"
            )
        units[unit.name] = unit
    return units


def _chip_bits(machine: Machine) -> int:
    usable = machine.usable()
    return max(usable["bram"], 0) * BRAM_BITS + usable["uram"] * URAM_BITS


def default_places(kinds: list[GraphKind], machine: Machine, batch: int = 1) -> dict[str, Place]:
    """Put weights, states of so many sequences, and embedding on chip where there is room."""
    chip, memory = _chip_bits(machine), machine.fastest_memory
    sizes = {"weights": 0, "states": 0, "embedding": 0}
    for kind in kinds:
        count = len(kind.segments)
        for shape, turns in linear_shapes(kind.skeleton):
            sizes["weights"] += shape.stored_bits * turns * count
        for task, turns in state_tasks(kind.skeleton):
            sizes["states"] += state_bits(kind.skeleton, task) * turns * count * batch
        sizes["embedding"] += sum(
            kind.skeleton.sketch.types[n.inputs[1]].size_bits
            for n in kind.skeleton.sketch.nodes if n.op.name == "embed"
        )  # fmt: skip
    room = int(chip * CHIP_SHARE)
    places: dict[str, Place] = {}
    for name in ("weights", "states", "embedding"):
        places[name] = "chip" if sizes[name] <= room else "memory"
        if places[name] == "chip":
            room -= sizes[name]
    off_chip = sum(sizes[n] for n, p in places.items() if p == "memory")
    if off_chip > memory.capacity_gb * 8e9:
        raise UserError(
            f"machine {machine.name} is too small: {off_chip / 8e9:.1f} GB of weights, embedding "
            f"and states do not fit the {memory.capacity_gb:g} GB of {memory.name}; use fewer bits"
        )
    return places
