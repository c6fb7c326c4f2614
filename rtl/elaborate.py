"""Elaborate a Design: all its units in one block, or a block for each and how they are joined.

Both come from the same builders. One block is what PyRTL simulates; for large models it is slow to
make and to walk through. A block for each unit, made one after another, is what is exported: FIFOs
live with the unit that pushes them, so that the top is wires alone.

Ports of the whole: a stream for each input and output of the graph, and one for the weights of each
matrix unit where they are not on chip (`rtl/units/weights.py` packs them); `state_in` and
`state_out` where states are off chip (`rtl/units/kept.py` says what a beat holds); `embedding_ask`
and `embedding_row` where the embedding is (`rtl/units/memory.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cosim.design import Design
from cosim.design.plan import STATE_FIFOS, weights_of
from cosim.design.shapes import linear_shape
from cosim.ir.errors import UserError
from cosim.ir.model import Model
from rtl.names import Names, legal
from rtl.netlist import Block, building
from rtl.streams import Stream, taken
from rtl.units.kept import streams_of
from rtl.units.memory import ASK, ROW, asked_bits, fetched_bits
from rtl.units.plan import UnitPlan, unit_plans
from rtl.units.unit import build_unit, give_out, queues_of, short_name, unit_block

TOP = "accelerator"
STATE_IN, STATE_OUT = STATE_FIFOS


@dataclass(frozen=True, eq=False)
class Elaboration:
    """Hold the plans of a design's units, and what each FIFO and stream between them is called.

    `weights` are the streams of weights, `off_chip` all streams from and to the memory, with the
    bits of a beat.
    """

    plans: Mapping[str, UnitPlan]
    names: Mapping[str, str]
    modules: Mapping[str, str]
    weights: Mapping[str, int]
    off_chip: Mapping[str, int]

    def block(self, unit: str) -> Block:
        """Build the block of one unit."""
        plan = self.plans[unit]
        own = {n: b for n, b in self.weights.items() if n == weights_of(plan.unit)}
        own = own if plan.kind == "matrix" else {}
        return unit_block(plan, own, self.names)

    def blocks(self, told: Callable[[int, int], None] | None = None) -> Iterator[tuple[str, Block]]:
        """Build the units' blocks one after another; `told` hears how many are done of how many."""
        for number, unit in enumerate(self.plans):
            yield unit, self.block(unit)
            if told is not None:
                told(number + 1, len(self.plans))


def _check(design: Design) -> None:
    """Raise UserError for what has no wires."""
    c = design.choices
    if c.workload.is_prompt or c.workload.batch > 1 or c.tile > 1:
        raise UserError(
            f"design of {design.model}: made for {c.workload.phase} of {c.workload.batch} "
            f"sequences in tiles of {c.tile}; wires are built for one sequence, token by token"
        )
    away = [n for n in ("constants", "windows", "sequences") if design.places[n] == "memory"]
    away += [f"FIFO {name!r}" for name in c.spills]
    if away:
        raise UserError(
            f"design of {design.model}: {', '.join(away)} off chip; wires are built for these on "
            "chip: choose places with them there, or a larger machine"
        )


def elaborate(model: Model, design: Design) -> Elaboration:
    """Look at all units of a causal model's design; raise UserError for what has no wires."""
    _check(design)
    plans = unit_plans(model, design)
    weights: dict[str, int] = {}
    if design.places["weights"] == "memory":
        for plan in plans.values():
            if plan.kind == "matrix":
                shapes = [linear_shape(plan.folded.skeleton, job.task) for job in plan.jobs]
                weights[weights_of(plan.unit)] = max(s.beat_bits(plan.unit) for s in shapes)
    modules, streams = Names(TOP), Names(TOP)
    for task in design.layouts[0].tasks:
        if task.name.startswith(("source.", "sink.")):
            _reserve(streams, legal(task.name.split(".", 1)[1]), task.name)
    off_chip = dict(weights)
    for plan in plans.values():
        if states := streams_of(plan):
            off_chip |= dict.fromkeys(STATE_FIFOS, states.bits)
        if bits := fetched_bits(plan):
            off_chip |= {ASK: asked_bits(plan), ROW: bits}
    for name in off_chip:
        _reserve(streams, legal(name), name)
    names = {name: streams[name] for name in off_chip}
    for plan in plans.values():
        modules.add(plan.unit.name, plan.unit.name)
        for name in (*(f.name for f in plan.out), *plan.words_out):
            streams.add(name, short_name(name))
            names[name] = streams[name]
    return Elaboration(plans, names, {n: modules[n] for n in plans}, weights, off_chip)


def one_block(model: Model, design: Design) -> Block:
    """Build all units and FIFOs of a small design in one block."""
    made = elaborate(model, design)
    with building() as block:
        queues = {unit: queues_of(plan) for unit, plan in made.plans.items()}
        streams: dict[str, Stream] = {
            name: queue.end for own in queues.values() for name, queue in own.items()
        }
        streams |= {name: taken(made.names[name], bits) for name, bits in made.weights.items()}
        for unit, plan in made.plans.items():
            into = [*(f.name for f in plan.into), *plan.words_in]
            if plan.kind == "matrix":
                into += [n for n in made.weights if n == weights_of(plan.unit)]
            if states := streams_of(plan):
                into.append(STATE_IN)
                streams[STATE_IN] = taken(made.names[STATE_IN], states.bits)
                give_out(queues[unit][STATE_OUT], made.names[STATE_OUT])
            if bits := fetched_bits(plan):
                into.append(ROW)
                streams[ROW] = taken(made.names[ROW], bits)
            build_unit(plan, {n: streams[n] for n in into}, queues[unit])
    return block


def _reserve(names: Names, wanted: str, key: str) -> None:
    names.add(("port", key), wanted)
    if names["port", key] != wanted:
        raise UserError(f"two ports of the design would be called {wanted!r}; rename one of them")
    names.same(key, ("port", key))
