"""Report what units take of an FPGA, and how fast they are, once they are placed and routed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Cell, Column, Table


@dataclass(frozen=True)
class PlacedRow:
    """Hold what a placed unit takes, and its longest path: its two parts, and where it lies."""

    unit: str
    kind: str
    lanes: str
    luts: int
    ffs: int
    dsps: int
    brams: float
    fmax_mhz: float
    logic_ns: float
    routing_ns: float
    starts: str
    ends: str
    tool: str


COLUMNS = (
    Column("unit", "unit"),
    Column("kind", "kind"),
    Column("lanes", "lanes", "given"),
    Column("luts", "LUT", "measured"),
    Column("ffs", "FF", "measured"),
    Column("dsps", "multipliers", "measured"),
    Column("brams", "BRAM", "measured", ".1f"),
    Column("fmax_mhz", "most MHz", "modelled", ".1f"),
    Column("logic_ns", "logic, ns", "modelled", ".2f"),
    Column("routing_ns", "routing, ns", "modelled", ".2f"),
    Column("starts", "longest path from"),
    Column("ends", "to"),
    Column("tool", "placed by"),
)
TITLE = "Placed and routed, each unit alone and out of context"


def table(rows: Sequence[PlacedRow]) -> Table:
    """Return a row per unit; times are those of the tool's model of the device."""
    return Table("placement", TITLE, COLUMNS, tuple(map(_cells, rows)))


def merged_table(parts: Sequence[tuple[str, str, Sequence[PlacedRow]]]) -> Table:
    """Return the rows of several designs: recipe, design and rows of each."""
    rows = [(recipe, *_cells(r), design) for recipe, design, own in parts for r in own]
    columns = (Column("recipe", "recipe"), *COLUMNS, Column("design", "design"))
    return Table("placement", TITLE, columns, tuple(rows))


def _cells(r: PlacedRow) -> tuple[Cell, ...]:
    return (
        r.unit, r.kind, r.lanes, r.luts, r.ffs, r.dsps, r.brams, r.fmax_mhz, r.logic_ns,
        r.routing_ns, r.starts, r.ends, r.tool,
    )  # fmt: skip
