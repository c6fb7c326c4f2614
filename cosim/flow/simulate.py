"""Ask the cycle and energy model about a graph, and turn its answer into what reports show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cosim.flow.bench import Bench
from cosim.flow.folder import digest
from cosim.ir.model import Model
from cosim.ir.write import write_file
from cosim.machine import Machine
from reports import coverage, energy, latency
from reports.coverage import Coverage, OperatorRow
from reports.energy import Constant, EnergyPart
from reports.latency import Speed, UnitUse
from reports.summary import RecipeCosts
from reports.table import Table


@dataclass(frozen=True)
class Simulated:
    """Hold the modelled side of one recipe on one machine."""

    coverage: Coverage
    operators: tuple[OperatorRow, ...]
    speed: Speed
    units: tuple[UnitUse, ...]
    costs: RecipeCosts
    energy: tuple[EnergyPart, ...]
    machine_constants: tuple[Constant, ...]
    energy_constants: tuple[Constant, ...]

    def tables(self) -> tuple[Table, ...]:
        """Return what `cosim simulate` prints, coverage first."""
        return (
            coverage.table((self.coverage,)),
            latency.speed_table((self.speed,)),
            latency.units_table(self.units),
            energy.table(self.energy),
        )


def simulate_graph(
    recipe: str, model: Model, machine: Machine
) -> tuple[Simulated, list[dict[str, object]]]:
    """Simulate one token of a graph on a machine; return the costs and the timeline's events."""
    from hw_models.simulate import simulate

    return _translate(recipe, simulate(model, machine), machine)


def _translate(recipe, found, machine):  # completed when hw_models.simulate is there
    raise NotImplementedError


def simulate_step(bench: Bench, recipe: str, graph_hash: str, machine: Machine) -> Simulated:
    """Simulate the graph of a recipe, and write `trace/<recipe>.json`."""
    path = trace_path(bench, recipe)

    def compute() -> Simulated:
        found, events = simulate_graph(recipe, bench.graph(recipe), machine)
        write_file(path, json.dumps(events))
        return found

    return bench.folder.step(
        f"simulate {recipe}",
        {"graph": graph_hash, "machine": digest(repr(machine))},
        ("cosim.ir", "cosim.ops", "cosim.design", "hw_models", "cosim.flow.simulate"),
        Simulated,
        compute,
        lambda _: path.is_file(),
    )


def trace_path(bench: Bench, recipe: str) -> Path:
    """Return where the timeline of a recipe is kept."""
    return bench.folder.path / "trace" / f"{recipe}.json"


def read_trace(bench: Bench, recipe: str) -> list[dict[str, object]]:
    """Read the timeline that the simulate step wrote."""
    events: list[dict[str, object]] = json.loads(trace_path(bench, recipe).read_text())
    return events
