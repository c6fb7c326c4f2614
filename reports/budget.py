"""Report what a design takes of its machine, beside what it may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table


@dataclass(frozen=True)
class ResourceRow:
    """Hold what the design of a recipe takes of one resource.

    `outside` says what of it is extrapolated: estimated for units that are unlike those of the
    sample that the estimate was fitted to.
    """

    recipe: str
    resource: str
    used: int
    budget: int
    outside: str = ""


def table(rows: Sequence[ResourceRow]) -> Table:
    """Return a row per resource; what is extrapolated stands in it, never left out."""
    lines = tuple(
        (r.recipe, r.resource, r.used, r.budget, r.used / r.budget if r.budget else None, r.outside)
        for r in rows
    )
    columns = (
        Column("recipe", "recipe"), Column("resource", "resource"),
        Column("used", "used", "modelled"), Column("budget", "may use", "derived"),
        Column("share", "share", "modelled", ".1%"), Column("outside", "extrapolated"),
    )  # fmt: skip
    note = "LUT and FF are estimates fitted to synthesis; DSP, BRAM and URAM are counted"
    return Table("budget", "Resources of the design", columns, lines, note)
