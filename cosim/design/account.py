"""Count what a design takes of its machine, share the memory out, and say what binds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import ceil

from cosim.design.attention import attention_shape
from cosim.design.choices import Choices
from cosim.design.design import Design
from cosim.design.graph_kind import GraphKind
from cosim.design.logic import matrix_turns, unit_logic
from cosim.design.plan import HANDED_BEATS, STATE_FIFOS, Place, Ports, Unit
from cosim.design.resources import (
    FFS_PER_LUT,
    NAMES,
    TOP_LUTS,
    Resources,
    blocks,
    chain_cost,
    fifo_cost,
    memory_blocks,
    stored_cost,
)
from cosim.design.shapes import (
    linear_shapes,
    order_groups,
    state_bits,
    state_tasks,
    widest_group_beats,
)
from cosim.ir.model import Model
from cosim.machine import Machine

# A memory with few channels is shared by a fixed pattern of so many turns.
TDM_PARTS = 64
# The family that LUT and FF were fitted for: yosys' xcup.
SAMPLED_FAMILY = "ultrascale+"
MANY_CHANNELS = 16


def share_memory(
    kinds: list[GraphKind], places: Mapping[str, Place], machine: Machine, choices: Choices
) -> Ports:
    """Share the fastest memory between weights and states as their bits are."""
    memory = machine.fastest_memory
    parts = memory.channels if memory.channels >= MANY_CHANNELS else TDM_PARTS
    weights, states = moved_bits(kinds, places, choices)
    each = ceil(parts * Fraction(states, weights + 2 * states)) if states else 0
    each = min(each, (parts - 1) // 2)
    return Ports(memory.name, parts, parts - 2 * each, each, choices.lanes.prefetch)


def moved_bits(
    kinds: list[GraphKind], places: Mapping[str, Place], choices: Choices
) -> tuple[Fraction, Fraction]:
    """Return the bits of weights, and of states one way, that a token of the workload moves."""
    is_prompt = choices.workload.is_prompt
    weights = streamed_bits(kinds, places, "weights", is_prompt) * choices.turns.fetches
    states = streamed_bits(kinds, places, "states") * choices.state_moves
    return weights, states


def streamed_bits(
    kinds: list[GraphKind], places: Mapping[str, Place], what: str, is_prompt: bool = False
) -> int:
    """Return the bits of weights, or of states one way, that one token alone moves off chip.

    A token of a prompt wants no weights of what follows the layers.
    """
    if places[what] != "memory":
        return 0
    total = 0
    for kind in kinds:
        count = len(kind.segments)
        if what == "weights":
            total += sum(
                s.stored_bits * n * count
                for s, n in linear_shapes(kind.skeleton)
                if not is_prompt or kind.skeleton.in_prompt(kind.skeleton.task(s.task))
            )
        else:
            total += sum(
                state_bits(kind.skeleton, t) * n * count for t, n in state_tasks(kind.skeleton)
            )
    return total


def count_resources(
    design: Design, model: Model, kinds: list[GraphKind], machine: Machine
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return what a design takes by resource, and what of it was estimated outside the sample.

    DSPs and blocks are counted, LUT and FF of units estimated; what is in no unit (the top, buffers
    at the memory) is assumed.
    """
    units = design.by_name
    of_unit: dict[str, Resources] = {name: Counter() for name in units}
    held = not design.choices.fused and design.choices.fifos == "whole"
    costs: list[Mapping[str, int]] = [{"lut": TOP_LUTS}]
    for kind in kinds:
        for task in kind.skeleton.tasks:
            # A unit with several tasks has the hardware of the largest.
            cost = chain_cost(kind.skeleton, task, units[task.unit], machine, held)
            if cost:
                of_unit[task.unit] |= cost
        batch = design.choices.workload.batch
        stored = stored_cost(kind.skeleton, units, design.places, machine, batch)
        costs.append({k: v * len(kind.segments) for k, v in stored.items()})
    costs += of_unit.values()
    for layout in design.layouts:
        # Layers that are not folded share FIFOs; all say the same of one.
        costs += [fifo_cost(f, machine) for f in {f.channel: f for f in layout.fifos}.values()]
    costs += [_port_buffers(design, kinds, machine), _sequences(design, model, machine)]
    total = _sum(costs)
    for unit in design.units:
        if unit.kind == "matrix":
            total = _sum([total, _matrix_memories(design, unit, kinds, machine)])
    total["ff"] = ceil(total["lut"] * FFS_PER_LUT)
    total.setdefault("dsp", 0)
    marks: dict[str, list[str]] = {}
    if machine.logic.family != SAMPLED_FAMILY:
        marks[f"family {machine.logic.family}, sampled {SAMPLED_FAMILY}"] = ["all units"]
    for own in unit_logic(design, kinds, machine, "board", design.budget["dsp"]):
        total["lut"] += own.estimate.luts
        total["ff"] += own.estimate.ffs
        total["dsp"] += own.dsps
        for mark in own.estimate.marks:
            marks.setdefault(mark.text(), []).append(mark.unit)
    outside = tuple(f"{text} ({', '.join(names)})" for text, names in marks.items())
    return {name: total.get(name, 0) for name in NAMES}, outside


def _sum(costs: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add costs up; counters would take five times as long."""
    total: dict[str, int] = {}
    for cost in costs:
        for name, count in cost.items():
            total[name] = total.get(name, 0) + count
    return total


def _matrix_memories(
    design: Design, unit: Unit, kinds: list[GraphKind], machine: Machine
) -> Resources:
    """Return the memories of a matrix unit: its inputs, and weights where they are on chip."""
    shapes = matrix_turns(kinds, unit)
    weight_bits = max(s.weight_bits for s, _ in shapes)
    act_bits = max(s.act_bits for s, _ in shapes)
    lanes = unit.lanes * unit.columns
    inputs = max(s.weight_steps(unit) for s, _ in shapes)
    chosen = design.choices
    tile = chosen.tile if chosen.shares_weights else 1
    cost = blocks(unit.columns * act_bits, 2 * inputs * tile, machine)
    if tile > 1:
        # The weights of a group (their other half is the port's FIFO), and two tiles of sums.
        wide = max(s.beat_bits(unit) for s, _ in shapes)
        cost += memory_blocks(wide, widest_group_beats(shapes, unit), machine)
        cost += memory_blocks(wide, HANDED_BEATS, machine)
        sums = unit.lanes * max(s.sum_bits for s, _ in shapes)
        # One sequence that reads a prompt wants no logits of it.
        kept = matrix_turns(kinds, unit, chosen.workload.is_prompt and chosen.workload.batch == 1)
        groups = order_groups(kept, unit, chosen.tiles_held) if kept else 0
        cost += memory_blocks(sums, tile * groups, machine)
    if design.places["weights"] == "chip":
        steps = sum(s.steps(unit, streamed=False) * n for s, n in shapes)
        cost += memory_blocks(lanes * weight_bits, steps, machine)
        scales = sum(s.groups(unit) * n for s, n in shapes)
        cost += memory_blocks(unit.lanes * max(s.scale_bits for s, _ in shapes), scales, machine)
    return cost


def _port_buffers(design: Design, kinds: list[GraphKind], machine: Machine) -> Resources:
    """Return the FIFOs at the memory, and the embedding where it is on chip."""
    total: Resources = Counter()
    for unit in design.units:
        if unit.kind == "matrix" and design.places["weights"] == "memory":
            width = max(s.beat_bits(unit) for s, _ in matrix_turns(kinds, unit))
            depth = design.ports.prefetch_beats
            if design.choices.tile > 1:
                depth = max(depth, widest_group_beats(matrix_turns(kinds, unit), unit))
            total += memory_blocks(width, depth, machine)
    for kind in kinds:
        for task, _ in state_tasks(kind.skeleton):
            if design.places["states"] == "memory":
                beats = -(-task.span // design.unit(task.unit).lanes)
                width = -(-state_bits(kind.skeleton, task) // beats)
                for name in STATE_FIFOS:
                    depth = dict(design.choices.depths).get(name, beats)
                    total += memory_blocks(width, depth, machine)
                if design.choices.keeps_states:
                    # A prompt's states stay on chip from a turn's first token to its last.
                    total += memory_blocks(width, beats, machine)
        for node in kind.skeleton.sketch.nodes:
            if node.op.name == "embed" and design.places["embedding"] == "chip":
                table = kind.skeleton.sketch.types[node.inputs[1]]
                lanes = design.unit("memory").lanes
                total += memory_blocks(lanes * table.dtype.bits, -(-table.size // lanes), machine)
    return total


def _sequences(design: Design, model: Model, machine: Machine) -> Resources:
    """Return the memories that keep a window's sequences between segments.

    A sequence lives from the segment that makes it to the last one that reads it; what is counted
    is the most that live at one time.
    """
    if design.window <= 1:
        return Counter()
    last_use = {source: at for at, s in enumerate(model.segments) for source in s.wires.values()}
    most: Resources = Counter()
    for at in range(len(model.segments)):
        alive: Resources = Counter()
        for made, segment in enumerate(model.segments[: at + 1]):
            for name, value in segment.graph.outputs.items():
                if last_use.get(f"{segment.name}.{name}", -1) >= at >= made:
                    type_ = segment.graph.types[value]
                    lanes = min(design.unit(f"sink.{name}").lanes, type_.size)
                    depth = -(-type_.size // lanes) * design.window
                    alive += memory_blocks(lanes * type_.dtype.bits, depth, machine)
        most |= alive
    return most


def what_binds(design: Design, kinds: list[GraphKind], machine: Machine) -> str:
    """Name the part that alone needs the most cycles for a token, and how many."""
    costs = cycles_alone(design, kinds, machine)
    name, cycles = max(costs.items(), key=lambda item: item[1])
    return f"{name}, {ceil(cycles):,} cycles a token"


def cycles_alone(design: Design, kinds: list[GraphKind], machine: Machine) -> dict[str, Fraction]:
    """Return the cycles that each unit, and each share of the memory, needs for a token."""
    rate = machine.bits_per_cycle(machine.fastest_memory)
    streamed = design.places["weights"] == "memory"
    ports, fetches = design.ports, design.choices.turns.fetches
    costs: dict[str, Fraction] = {}
    weights, states = moved_bits(kinds, design.places, design.choices)
    for name, bits, parts in (("weights", weights, ports.weight_parts),
                              ("states", states, ports.state_parts)):  # fmt: skip
        if bits:
            costs[f"{name} from {ports.memory}"] = bits / (rate * Fraction(parts, ports.parts))
    is_prompt = design.choices.workload.is_prompt
    for kind in kinds:
        for task in kind.skeleton.tasks:
            if is_prompt and not kind.skeleton.in_prompt(task):
                continue
            unit = design.unit(task.unit)
            turns = kind.skeleton.sketch.layers if task.part == "block" else 1
            if unit.kind != "matrix":
                name = f"unit {unit.name}"
                steps = -(-task.span // unit.lanes)
                if unit.kind == "attention":
                    steps = attention_shape(kind.skeleton, task, unit).steps
                cycles = Fraction(steps * turns * len(kind.segments))
                costs[name] = costs.get(name, Fraction(0)) + cycles
    for unit in design.units:
        if unit.kind == "matrix":
            costs[f"unit {unit.name}"] = sum(
                (
                    s.groups(unit) * n
                    * (s.weight_steps(unit) + s.scale_steps(unit, streamed) * fetches)
                    for s, n in matrix_turns(kinds, unit, is_prompt)
                ),
                Fraction(0),
            )  # fmt: skip
    return costs
