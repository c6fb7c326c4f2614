"""Count what a design takes of its machine, and say what binds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import ceil

from cosim.design.attention import attention_shape
from cosim.design.design import Design
from cosim.design.drawn import constant_width, drawing_tasks, window_bits, window_tasks
from cosim.design.graph_kind import GraphKind
from cosim.design.logic import matrix_turns, unit_logic
from cosim.design.plan import HANDED_BEATS, STATE_FIFOS, WINDOW_FIFOS, Unit, constants_of
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
    order_groups,
    state_bits,
    state_tasks,
    widest_group_beats,
)
from cosim.design.tasks import Skeleton
from cosim.design.traffic import moved_bits, port_cycles, sequence_bits
from cosim.ir.model import Model
from cosim.machine import Machine

# The family that LUT and FF were fitted for: yosys' xcup.
SAMPLED_FAMILY = "ultrascale+"


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
        stored = stored_cost(kind.skeleton, units, design.places, machine, design.choices)
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
    for fifo in {f.channel: f for layout in design.layouts for f in layout.fifos}.values():
        if fifo.near:
            # The end where it comes back.
            total += memory_blocks(fifo.width_bits, fifo.near, machine)
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
        total += _drawn_buffers(design, kind, machine)
        for node in kind.skeleton.sketch.nodes:
            if node.op.name == "embed" and design.places["embedding"] == "chip":
                table = kind.skeleton.sketch.types[node.inputs[1]]
                lanes = design.unit("memory").lanes
                total += memory_blocks(lanes * table.dtype.bits, -(-table.size // lanes), machine)
    return total


def drawn_depths(design: Design, skeleton: Skeleton) -> dict[str, tuple[int, int]]:
    """Return the FIFOs of constants and windows that live off chip: (places, bits of a beat).

    A unit that serves several tasks has one, as wide and deep as any of them needs.
    """
    given, shallow = dict(design.choices.depths), design.choices.shallow_beats
    found: dict[str, tuple[int, int]] = {}
    for what, tasks in (("constants", drawing_tasks), ("windows", window_tasks)):
        for task, _ in tasks(skeleton) if design.places[what] == "memory" else ():
            lanes = design.unit(task.unit).lanes
            names: tuple[str, ...] = WINDOW_FIFOS
            if what == "constants":
                names, bits = (constants_of(task.unit),), constant_width(skeleton, task, lanes)
            else:
                beats = -(-task.span // lanes)
                bits = -(-window_bits(skeleton, task) // beats)
            for name in names:
                _, width = found.get(name, (0, 0))
                found[name] = given.get(name, shallow), max(width, bits)
    return found


def _drawn_buffers(design: Design, kind: GraphKind, machine: Machine) -> Resources:
    """Return the FIFOs at the memory of constants, windows and sequences."""
    total: Resources = Counter()
    for depth, width in drawn_depths(design, kind.skeleton).values():
        total += memory_blocks(width, depth, machine)
    for layout in design.layouts:
        if layout.segments == kind.segments and design.places["sequences"] == "memory":
            for name in layout.sequences:
                task = layout.task(name)
                lanes = min(design.unit(task.unit).lanes, task.span)
                bits = lanes * sequence_bits(kind.skeleton, name) // task.span
                total += memory_blocks(bits, design.choices.shallow_beats, machine)
    return total


def _sequences(design: Design, model: Model, machine: Machine) -> Resources:
    """Return the memories that keep a window's sequences between segments.

    A sequence lives from the segment that makes it to the last one that reads it; what is counted
    is the most that live at one time.
    """
    if design.window <= 1 or design.places["sequences"] == "memory":
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
    moved = moved_bits(kinds, design.layouts, design.places, design.choices)
    costs = {f"{name} from {ports.memory}": c for name, c in port_cycles(moved, ports, rate)}
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
