"""Say first how much of the model the hardware model covers, and what each operator has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table


@dataclass(frozen=True)
class Coverage:
    """Hold the shares (0 to 1) of a graph that the cycle and energy model covers."""

    recipe: str
    operators: int
    operators_share: float
    macs: int
    macs_share: float
    bytes_moved: int
    bytes_share: float
    missing: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing was left out."""
        return min(self.operators_share, self.macs_share, self.bytes_share) == 1.0


@dataclass(frozen=True)
class OperatorRow:
    """Say what one operator kind has: uses in the graphs, a unit that times it, wires."""

    op: str
    uses: int
    unit: str | None
    wires: bool


def table(coverages: Sequence[Coverage]) -> Table:
    """Print a row per recipe."""
    rows = tuple(
        (
            c.recipe,
            c.operators,
            c.operators_share,
            c.macs,
            c.macs_share,
            c.bytes_moved,
            c.bytes_share,
            ", ".join(c.missing) or "nothing",
        )
        for c in coverages
    )
    columns = (
        Column("recipe", "recipe"),
        Column("operators", "operators", "derived"),
        Column("operators_share", "covered", "derived", ".2%"),
        Column("macs", "MACs per token", "derived"),
        Column("macs_share", "covered", "derived", ".2%"),
        Column("bytes", "bytes per token", "derived"),
        Column("bytes_share", "covered", "derived", ".2%"),
        Column("missing", "left out"),
    )
    return Table("coverage", "Coverage of the cycle and energy model", columns, rows)


def operators_table(rows: Sequence[OperatorRow]) -> Table:
    """Print which of integer meaning, cycles and wires each operator has."""
    columns = (
        Column("op", "operator"),
        Column("uses", "uses", "derived"),
        Column("meaning", "integer meaning"),
        Column("unit", "timed by unit"),
        Column("wires", "wires"),
    )
    cells = tuple(
        (r.op, r.uses, "yes", r.unit or "none", "yes" if r.wires else "not yet") for r in rows
    )
    return Table("operators", "Operators", columns, cells)
