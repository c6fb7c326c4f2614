"""Report what the units of a run's designs take of an FPGA, as `cosim synth` left it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports import placement, synthesis
from reports.chart import Bar, Bars, Part
from reports.placement import PlacedRow
from reports.synthesis import SynthesisRow
from reports.table import Column, Table

# What a bar chart shows, each on a scale of its own.
SHOWN = (("luts", "LUT"), ("ffs", "FF"), ("dsps", "DSP"))


@dataclass(frozen=True)
class Resources:
    """Hold what the units of a design take for a family of FPGAs; `tool` counted.

    `placed` are the units that were placed and routed too.
    """

    recipe: str
    design: str
    family: str
    tool: str
    rows: tuple[SynthesisRow, ...]
    placed: tuple[PlacedRow, ...] = ()


def table(found: Sequence[Resources]) -> Table:
    """Print a row per unit and a sum per design, each with the tool that counted."""
    columns: tuple[Column, ...] = ()
    rows = []
    for r in found:
        own = synthesis.table(r.rows, r.family, r.tool)
        columns = own.columns
        rows += [(r.recipe, *row, r.tool, r.family, r.design) for row in own.rows]
    last = (
        Column("tool", "counted by"), Column("family", "family"), Column("design", "design"),
    )  # fmt: skip
    title = "Resources: what each unit takes, synthesised alone and out of context"
    return Table("resources", title, (Column("recipe", "recipe"), *columns, *last), tuple(rows))


def placement_table(found: Sequence[Resources]) -> Table:
    """Print a row per unit that was placed and routed."""
    return placement.merged_table([(r.recipe, r.design, r.placed) for r in found])


def bars(found: Resources) -> tuple[Bars, ...]:
    """Show LUTs, FFs and DSPs unit by unit, the largest first."""
    drawn = []
    for key, title in SHOWN:
        parts = sorted(((r.unit, int(getattr(r, key))) for r in found.rows), key=lambda p: -p[1])
        own = [(unit, value) for unit, value in parts if value]
        if not own:
            continue
        drawn.append(
            Bars(
                f"resources_{key}", f"{title} by unit, {found.recipe}", "measured",
                tuple(
                    Bar(unit, (Part(title, value, f"{value:,}"),), f"{value:,}")
                    for unit, value in own
                ),
                f"{found.design}; {found.family}, counted by {found.tool}",
            )
        )  # fmt: skip
    return tuple(drawn)
