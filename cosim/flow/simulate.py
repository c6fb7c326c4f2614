"""Ask the cycle and energy model about a graph, and turn its answer into what reports show."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from cosim.design import Design, Workload, default_design, graph_kinds
from cosim.design.kinds import KIND_OF_OP
from cosim.design.sketch import folded_name
from cosim.flow.bench import Bench
from cosim.flow.folder import digest
from cosim.ir.model import Model
from cosim.ir.write import write_file
from cosim.machine import Machine
from hw_models.depths import smallest_depths, unsized_text
from hw_models.energy_gpu import GPUS, decode_bytes, gpu_row
from hw_models.evaluate import Evaluator
from hw_models.mapper import Goal, Objective, map_model
from hw_models.serve import serve
from hw_models.simulate import Simulation
from hw_models.storage import account
from hw_models.validate.beside import Beside, beside
from reports import (
    baseline,
    budget,
    coverage,
    energy,
    latency,
    published,
    roofline,
    storage,
    workload,
)
from reports.baseline import BaselineRow
from reports.budget import ResourceRow
from reports.coverage import Coverage, OperatorRow
from reports.energy import Constant, EnergyPart, Rule, refuse_mixed
from reports.latency import Speed, UnitUse
from reports.published import PublishedRow
from reports.roofline import Ceilings, OperatorCost
from reports.roofline_units import unit_points, unit_table
from reports.storage import StorageRow
from reports.summary import RecipeCosts
from reports.table import Table, si
from reports.timeline import MOST_SPANS, Stall, TaskSpan, stalls_table
from reports.workload import PhaseRow


@dataclass(frozen=True)
class Simulated:
    """Hold the modelled side of one recipe on one machine."""

    coverage: Coverage
    operators: tuple[OperatorRow, ...]
    speed: Speed
    units: tuple[UnitUse, ...]
    spans: tuple[TaskSpan, ...]
    stalls: tuple[Stall, ...]
    costs: RecipeCosts
    energy: tuple[EnergyPart, ...]
    machine_constants: tuple[Constant, ...]
    energy_constants: tuple[Constant, ...]
    energy_rules: tuple[Rule, ...]
    storage: tuple[StorageRow, ...]
    gpus: tuple[BaselineRow, ...]
    phases: tuple[PhaseRow, ...]
    first_token_s: float
    mapping: str
    notes: tuple[str, ...]
    budget: tuple[ResourceRow, ...]
    published: tuple[PublishedRow, ...]
    published_note: str

    def tables(self) -> tuple[Table, ...]:
        """Return what `cosim simulate` prints, coverage first; nothing published, no such table."""
        beside = (published.table(self.published, self.published_note),) if self.published else ()
        return (
            coverage.table((self.coverage,)),
            latency.speed_table((self.speed,)),
            *beside,
            # Behind those on power, prices and resources.
            workload.table(self.phases, self.first_token_s, self.notes[3:]),
            budget.table(self.budget),
            latency.units_table(self.units),
            stalls_table(self.stalls),
            unit_table(
                unit_points(self.costs.recipe, self.costs.costs, self.units, self.costs.ceilings)
            ),
            energy.table(self.energy),
            storage.table(self.storage),
            baseline.table(self.gpus),
            roofline.merged_table(((self.costs.recipe, self.costs.costs),)),
        )


def simulate_graph(
    recipe: str,
    model: Model,
    machine: Machine,
    load: Workload | None = None,
    slack: float | None = None,
    objective: Objective | None = None,
) -> tuple[Simulated, list[dict[str, object]]]:
    """Simulate a workload of a graph on a machine; return the costs and the timeline's events.

    `load` None generates one token of one sequence; the figures are those of its first phase.
    `slack` makes the FIFOs the smallest that let a token take so much longer, as a share;
    `objective` searches a design for it, where the rules would give one.
    """
    load = load or Workload()
    if objective is None:
        design, mapping = default_design(model, machine, workload=load), ""
    else:
        mapped = map_model(model, machine, Goal(objective, workload=load, slack=None))
        design, mapping = mapped.design, mapped.text()
    fifos = ""
    if slack is not None:
        evaluator = Evaluator(model, machine)
        depths = smallest_depths(evaluator, design.choices, slack)
        design, fifos = evaluator.design(depths.choices), depths.text()
    served = serve(model, machine, load, design)
    found = served.phases[0]
    others = beside(model, machine, load, found)
    c = found.coverage
    constants = tuple(
        Constant(
            k.name, k.value, k.unit, k.kind, k.source,
            f"{k.node_nm} nm, {k.voltage_v} V" if k.domain == "logic" else "",
        )
        for k in found.constants
    )  # fmt: skip
    refuse_mixed(constants)
    busy = {u.unit: u.busy_cycles for u in found.units}
    simulated = Simulated(
        coverage=Coverage(
            recipe,
            c.operators,
            c.operators_share,
            c.macs,
            c.macs_share,
            c.bits // 8,
            c.bytes_share,
            c.missing,
        ),
        operators=_operators(model),
        speed=Speed(
            recipe,
            machine.name,
            found.cycles_per_token,
            found.latency_cycles,
            found.tokens_per_second,
            found.energy_pj_per_token,
            found.design.binds,
        ),
        units=tuple(
            UnitUse(
                recipe,
                u.unit,
                u.kind,
                u.busy_cycles,
                u.starved_cycles,
                u.blocked_cycles,
                found.cycles_per_token,
            )
            for u in found.units
        ),
        spans=tuple(
            TaskSpan(recipe, s.segment, s.unit, s.task, s.turn, s.start_cycle, s.end_cycle)
            for s in sorted(found.timeline, key=lambda s: s.start_cycle)[:MOST_SPANS]
        ),
        stalls=tuple(
            Stall(recipe, s.unit, s.cause, s.fifo, s.other, s.cycles, found.cycles_per_token)
            # What keeps a busy unit from working matters most.
            for s in sorted(found.stalls, key=lambda s: (-busy[s.unit], s.unit, -s.cycles))
        ),
        costs=RecipeCosts(recipe, _ceilings(found), _costs(model, found), found.design.text()),
        energy=tuple(EnergyPart(recipe, name, pj) for name, pj in found.energy_pj.items()),
        machine_constants=tuple(_machine_constants(machine)),
        energy_constants=constants,
        energy_rules=tuple(Rule(s.name, s.rule, s.kind, s.source) for s in found.scalings),
        storage=tuple(
            StorageRow(recipe, k.purpose, k.place, k.kept_bytes, k.read_bytes, k.written_bytes)
            for k in account(model, found.design)
        ),
        gpus=_gpus(recipe, model) if model.is_causal and load == Workload() else (),
        phases=tuple(_phase(recipe, p) for p in served.phases),
        first_token_s=served.first_token_cycles / found.ceilings.clock_hz,
        mapping=mapping,
        notes=(*found.notes, fifos or unsized_text(found.design)),
        budget=tuple(_resources(recipe, found.design)),
        published=tuple(_published(recipe, others)),
        published_note=others.note,
    )
    return simulated, found.trace_events()


def _published(recipe: str, found: Beside) -> Iterator[PublishedRow]:
    for row in found.rows:
        assert row.given is not None
        assert row.modelled is not None
        assert row.error is not None
        yield PublishedRow(
            recipe, row.design, f"{row.figure}, {row.unit}", row.given, row.modelled, row.error,
            row.rests_on, row.source,
        )  # fmt: skip


def _resources(recipe: str, design: Design) -> Iterator[ResourceRow]:
    """Return what a design takes; LUT and FF alone are estimated, and may be extrapolated."""
    for name, used in design.resources.items():
        outside = "; ".join(design.outside) if name in {"lut", "ff"} else ""
        yield ResourceRow(recipe, name.upper(), used, design.budget[name], outside)


def _phase(recipe: str, found: Simulation) -> PhaseRow:
    """Return one phase's row: its bytes, and how near it comes to either ceiling."""
    chosen, c = found.design.choices, found.ceilings
    moved = sum(row.offchip_bytes for row in found.operators)
    macs = sum(row.macs for row in found.operators if row.op == "linear")
    operations = 2 * sum(row.macs for row in found.operators)
    tiles = chosen.turns.tiles
    shared = f"{max(tiles)}, {len(tiles)} tile{'s' if len(tiles) > 1 else ''} a turn"
    return PhaseRow(
        recipe, chosen.workload.text(), shared, found.tokens_per_second, found.cycles_per_token,
        found.energy_pj_per_token, moved, operations / moved if moved else None,
        macs * found.tokens_per_second / c.macs_per_s,
        moved * found.tokens_per_second / c.memory_bytes_per_s, found.design.binds,
    )  # fmt: skip


def _gpus(recipe: str, model: Model) -> tuple[BaselineRow, ...]:
    """Bound every GPU for the bytes of this very graph: decoding, so that it must be causal."""
    moved = decode_bytes(model)
    rows = [gpu_row(name, moved, f"the bits of {recipe}") for name in GPUS]
    return tuple(
        BaselineRow(recipe, r.gpu, r.bytes_per_token, r.tokens_per_second, r.joules_per_token,
                    "; ".join(r.assumptions[:2]))
        for r in rows
    )  # fmt: skip


def _ceilings(found: Simulation) -> Ceilings:
    c = found.ceilings
    per_cycle = round(c.macs_per_s / c.clock_hz)
    return Ceilings(
        c.clock_hz,
        2 * c.macs_per_s,
        c.memory_bytes_per_s,
        f"matrix unit, {per_cycle:,} MACs per cycle",
        f"{c.memory}, {si(c.memory_bytes_per_s, 'B/s')}",
    )


def _costs(model: Model, found: Simulation) -> tuple[OperatorCost, ...]:
    tasks = dict(_tasks(model))
    return tuple(
        OperatorCost(
            segment=row.segment,
            node=row.node,
            op=row.op,
            unit=row.unit,
            task=tasks[row.segment, row.node],
            cycles=row.cycles,
            macs=row.macs,
            operations=row.operations,
            bytes_moved=row.bytes,
            bytes_offchip=row.offchip_bytes,
            energy_pj=row.energy_pj,
            bound=row.bound if row.cycles else "",
        )
        for row in found.operators
    )


def _tasks(model: Model) -> Iterator[tuple[tuple[str, str], str]]:
    """Name the task of every (segment, node); empty where wires do it."""
    segments = {s.name: s for s in model.segments}
    for kind in graph_kinds(model):
        sketch, maker = kind.skeleton.sketch, kind.skeleton.maker
        for name in kind.segments:
            nodes = segments[name].graph.nodes
            drawn = [folded_name(n.name) for n in nodes]
            if sketch.layers == 1:  # segments of one kind differ in their names alone
                drawn = [n.name for n in sketch.nodes]
            for node, own in zip(nodes, drawn, strict=True):
                yield (name, node.name), maker.get(own, "")


def _operators(model: Model) -> tuple[OperatorRow, ...]:
    uses = Counter(node.op.name for s in model.segments for node in s.graph.nodes)
    wires = importlib.util.find_spec("rtl.ops") is not None
    return tuple(
        OperatorRow(
            op,
            count,
            KIND_OF_OP.get(op),
            wires and importlib.util.find_spec(f"rtl.ops.{op}") is not None,
        )
        for op, count in sorted(uses.items())
    )


def _machine_constants(machine: Machine) -> Iterator[Constant]:
    groups: list[tuple[str, object]] = [("logic", machine.logic), ("clock", machine.clock)]
    groups += [(f"memories.{m.name}", m) for m in machine.memories]
    groups += [("energy", machine.energy), ("power", machine.power)]
    for group, part in groups:
        for f in fields(part):  # type: ignore[arg-type]
            value = getattr(part, f.name)
            if isinstance(value, int | float):
                source = machine.source(f"{group}.{f.name}")
                # The unit is the end of the name.
                yield Constant(f"{group}.{f.name}", value, "", source.kind, source.text)


def simulate_step(bench: Bench, recipe: str, graph_hash: str, machine: Machine) -> Simulated:
    """Simulate the graph of a recipe, and write `trace/<recipe>.json`."""
    path = trace_path(bench, recipe)

    def compute() -> Simulated:
        found, events = simulate_graph(recipe, bench.graph(recipe), machine)
        write_file(path, json.dumps(events))
        return found

    return bench.folder.step(
        f"simulate {recipe}",
        {"graph": graph_hash, "machine": digest(repr(machine) + repr(machine.sources))},
        ("cosim.ir", "cosim.ops", "cosim.design", "cosim.machine", "hw_models", "reports",
         "cosim.flow.simulate"),
        Simulated,
        compute,
        lambda _: path.is_file(),
    )  # fmt: skip


def trace_path(bench: Bench, recipe: str) -> Path:
    """Return where the timeline of a recipe is kept."""
    return bench.folder.path / "trace" / f"{recipe}.json"


def read_trace(bench: Bench, recipe: str) -> list[dict[str, object]]:
    """Read the timeline that the simulate step wrote."""
    events: list[dict[str, object]] = json.loads(trace_path(bench, recipe).read_text())
    return events
