"""Hold all results of a run, and give its tables in the order in which they are read."""

from __future__ import annotations

from dataclasses import dataclass

from reports import (
    accuracy,
    baseline,
    budget,
    coverage,
    energy,
    exactness,
    latency,
    lengths,
    lints,
    published,
    resources,
    roofline,
    storage,
    wires,
    wires_units,
)
from reports.accuracy import Accuracy
from reports.baseline import BaselineRow
from reports.budget import ResourceRow
from reports.coverage import Coverage, OperatorRow
from reports.energy import Constant, EnergyPart, Rule
from reports.exactness import Exactness
from reports.headline import Headline
from reports.latency import Speed, UnitUse
from reports.lengths import LengthRow
from reports.lints import LintRow, StepRow
from reports.pareto import DesignSpace, counts_table, front_table
from reports.published import PublishedRow
from reports.resources import Resources
from reports.roofline_units import UnitPoint, unit_points, unit_table
from reports.storage import StorageRow
from reports.table import Table
from reports.timeline import Stall, TaskSpan, stalls_table
from reports.validation import Validation
from reports.wires import WiresCheck
from reports.wires_units import UnitCheck

BASELINE = "-rtn"


@dataclass(frozen=True)
class RecipeCosts:
    """Hold the cost of every node of one recipe, under the ceilings of its design."""

    recipe: str
    ceilings: roofline.Ceilings
    costs: tuple[roofline.OperatorCost, ...]
    design: str


@dataclass(frozen=True)
class Sample:
    """Hold text that the integer graph of a recipe wrote by itself."""

    recipe: str
    prompt: str
    text: str


@dataclass(frozen=True)
class Summary:
    """Hold a run: what was asked (`command`), and what came of it; empty parts were not asked.

    `wires`, `wire_units` and `resources` are what other commands left in the run folder; `stale`
    counts what they left of another graph or of other code.
    """

    model: str
    machine: str
    command: str
    version: str
    accuracy: tuple[Accuracy, ...] = ()
    exactness: tuple[Exactness, ...] = ()
    wires: tuple[WiresCheck, ...] = ()
    wire_units: tuple[UnitCheck, ...] = ()
    resources: tuple[Resources, ...] = ()
    stale: int = 0
    coverage: tuple[Coverage, ...] = ()
    operators: tuple[OperatorRow, ...] = ()
    speeds: tuple[Speed, ...] = ()
    units: tuple[UnitUse, ...] = ()
    spans: tuple[TaskSpan, ...] = ()
    stalls: tuple[Stall, ...] = ()
    storage: tuple[StorageRow, ...] = ()
    budget: tuple[ResourceRow, ...] = ()
    gpus: tuple[BaselineRow, ...] = ()
    published: tuple[PublishedRow, ...] = ()
    costs: tuple[RecipeCosts, ...] = ()
    energy: tuple[EnergyPart, ...] = ()
    machine_constants: tuple[Constant, ...] = ()
    energy_constants: tuple[Constant, ...] = ()
    energy_rules: tuple[Rule, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[StepRow, ...] = ()
    lints: tuple[LintRow, ...] = ()
    lengths: tuple[LengthRow, ...] = ()
    space: DesignSpace | None = None
    validation: Validation | None = None
    samples: tuple[Sample, ...] = ()
    hashes: tuple[tuple[str, str], ...] = ()

    def tables(self) -> tuple[Table, ...]:
        """Return all tables that have rows, coverage first; `layers.csv` is not among them."""
        costs = [(c.recipe, c.costs) for c in self.costs]
        all_tables = (
            coverage.table(self.coverage),
            accuracy.table(self.accuracy),
            exactness.table(self.exactness),
            wires.table(self.wires),
            wires_units.table(self.wire_units),
            resources.table(self.resources),
            resources.placement_table(self.resources),
            latency.speed_table(self.speeds),
            published.table(self.published),
            energy.table(self.energy),
            latency.units_table(self.units),
            stalls_table(self.stalls),
            unit_table(self.unit_points()),
            storage.table(self.storage),
            budget.table(self.budget),
            baseline.table(self.gpus),
            roofline.merged_table(costs),
            lints.steps_table(self.steps),
            lints.lints_table(self.lints),
            coverage.operators_table(self.operators),
            energy.constants_table("machine", "The machine", self.machine_constants),
            energy.constants_table("energy_constants", "Energy constants", self.energy_constants),
            energy.rules_table(self.energy_rules),
            lengths.table(self.lengths),
            *((counts_table(self.space), front_table(self.space)) if self.space else ()),
            *(self.validation.tables() if self.validation else ()),
        )
        return tuple(t for t in all_tables if t.rows)

    @property
    def mismatches(self) -> tuple[str, ...]:
        """Return a sentence for each comparison whose sides differ."""
        of_graphs = [c.sentence for c in self.exactness if not c.is_exact]
        of_wires = [c.sentence for c in self.wires if not c.is_exact]
        return (*of_graphs, *of_wires, *(c.sentence for c in self.wire_units if not c.is_exact))

    def unit_points(self) -> tuple[UnitPoint, ...]:
        """Return each recipe's units against their ceilings."""
        return tuple(
            point
            for c in self.costs
            for point in unit_points(c.recipe, c.costs, self.units, c.ceilings)
        )

    def layers(self) -> Table:
        """Return the table of `layers.csv`: every node of every recipe."""
        return roofline.table([(c.recipe, c.costs) for c in self.costs])

    def to_json(self) -> dict[str, object]:
        """Return what `summary.json` holds: the request, and the tables with their origins."""
        return {
            "schema": 1,
            "model": self.model,
            "machine": self.machine,
            "command": self.command,
            "version": self.version,
            "hashes": dict(self.hashes),
            "notes": list(self.notes),
            "tables": {
                t.name: {
                    "title": t.title,
                    "origins": {c.key: c.origin for c in t.columns if c.origin},
                    "rows": t.records(),
                }
                for t in self.tables()
            },
            "lint_heads": lints.heads_records(self.lints),
            "samples": [
                {"recipe": s.recipe, "prompt": s.prompt, "text": s.text} for s in self.samples
            ],
        }


def headlines(run: Summary) -> tuple[Headline, ...]:
    """Choose the numbers at the top: accuracy of float and best recipe, bits, speed, energy."""
    found: list[Headline] = []
    of_float = next((a for a in run.accuracy if a.form == accuracy.FLOAT), None)
    scored = [(a, accuracy.excess(a, of_float)) for a in run.accuracy if of_float]
    scored = [(a, e) for a, e in scored if a is not of_float and e is not None]
    per = "byte" if of_float and of_float.are_bytes else "token"
    if of_float and of_float.bits_per_token is not None:
        bits = f"{of_float.bits_per_token:.4f}"
        found.append(Headline("float model", bits, "measured", f"bits per {per}"))
    if scored and of_float:
        is_text = of_float.bits_per_token is not None
        best, share = min(scored, key=lambda pair: pair[1] or 0.0)
        detail = f"bits per {per} over float" if is_text else "tokens disagree with float"
        value = format(share or 0.0, "+.2%" if is_text else ".2%")
        found.append(Headline(f"best recipe, {best.form}", value, "measured", detail))
    if run.exactness:
        wrong = sum(c.differences for c in run.exactness)
        all_ = sum(c.integers for c in run.exactness)
        found.append(Headline("differing integers", f"{wrong:,}", "measured", f"of {all_:,}"))
    if run.wires:
        bits, late = (sum(getattr(c, n) for c in run.wires) for n in ("differences", "late"))
        integers, beats = (sum(getattr(c, n) for c in run.wires) for n in ("integers", "beats"))
        of = f"of {integers:,} integers"
        if beats:
            found.append(Headline("off in wires", f"{bits + late:,}", "measured",
                                  f"{of} and {beats:,} beats"))  # fmt: skip
        else:
            found.append(Headline("off in wires", f"{bits:,}", "measured", of))
    # A baseline is there to be beaten; its speed is not what the run is about.
    speeds = [s for s in run.speeds if not s.recipe.endswith(BASELINE)] or run.speeds
    if speeds:
        fastest = max(speeds, key=lambda s: s.tokens_per_s)
        rate = f"{fastest.tokens_per_s:,.0f}"
        on = f"tokens/s on {fastest.machine}"
        found.append(Headline(f"speed, {fastest.recipe}", rate, "modelled", on))
        least = min(speeds, key=lambda s: s.energy_pj_per_token)
        joules = f"{least.energy_pj_per_token / 1e6:,.3g}"
        found.append(Headline(f"energy, {least.recipe}", joules, "modelled", "µJ per token"))
    return tuple(found)
