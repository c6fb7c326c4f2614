"""Report how the units of an accelerator in wires compare, each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cosim.ir.errors import InternalError
from reports.table import Column, Table

NOTE = (
    "Each unit stands alone, from reset: on the reference's values, at once and under random gaps "
    "and stalls, and on drawn values under gaps and stalls. Sources, sinks and switches, which "
    "only pass beats on, are compared end to end."
)


@dataclass(frozen=True)
class UnitCheck:
    """Say what a unit alone gave in some runs, beside its meaning and the cycle model.

    `integers` are the elements of all beats that came out, `differences` those in beats that
    differ; `late` the beats that moved in another cycle than the model says; `first` the sentence
    of the first of either.
    """

    recipe: str
    design: str
    unit: str
    kind: str
    lanes: str
    level: str
    simulator: str
    runs: int
    tokens: int
    integers: int
    differences: int
    beats: int
    late: int
    total_cycles: int
    build_seconds: float
    simulate_seconds: float
    first: str | None = None

    def __post_init__(self) -> None:
        """Refuse an empty comparison, and a difference without its place."""
        if min(self.runs, self.tokens, self.integers, self.beats) <= 0:
            raise InternalError(f"{self.recipe}, {self.unit}: compared nothing: {self}")
        if (self.differences + self.late > 0) != (self.first is not None):
            raise InternalError(f"{self.unit}: {self.differences}, {self.late}, {self.first!r}")

    @property
    def is_exact(self) -> bool:
        """Tell whether every bit and every cycle agreed."""
        return self.first is None

    @property
    def sentence(self) -> str:
        """Say where the executions part."""
        return f"{self.recipe}, unit {self.unit}: {self.first or 'all bits and cycles agree'}"


def table(checks: Sequence[UnitCheck]) -> Table:
    """Print a row per unit."""
    rows = tuple(
        (
            c.recipe, c.unit, c.lanes, f"{c.level} in {c.simulator}", c.integers, c.differences,
            c.beats, c.late, c.first or "all agree", c.runs, c.tokens, c.total_cycles,
            c.build_seconds, c.simulate_seconds, c.kind, c.design,
        )
        for c in checks
    )  # fmt: skip
    columns = (
        Column("recipe", "recipe"),
        Column("unit", "unit"),
        Column("lanes", "lanes", "given"),
        Column("compared", "meaning =="),
        Column("integers", "integers", "measured"),
        Column("differences", "differ", "measured"),
        Column("beats", "beats", "modelled"),
        Column("late", "other cycle", "measured"),
        Column("verdict", "verdict"),
        Column("runs", "runs", "given"),
        Column("tokens", "tokens", "given"),
        Column("total_cycles", "cycles", "measured"),
        Column("build_seconds", "build, s", "measured", ".1f"),
        Column("simulate_seconds", "run, s", "measured", ".2f"),
        Column("kind", "kind"),
        Column("design", "design"),
    )
    title = "Wires, unit by unit: every beat's bits with ==, and its predicted cycle"
    return Table("wire_units", title, columns, rows, NOTE)
