"""Place each unit against its own ceilings, over all the cycles of a token.

x: operations per off-chip byte that the unit works on, or per byte on chip where none is off chip.
y: operations per second over the whole token, waits included. Its ceilings: the pace while it works
(`own`: its lanes, all of them at work in every busy cycle), and, where bytes come from off chip,
the memory's bandwidth times x. What is far below all its ceilings waits for another unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.chart import Ceiling, Point, Roofline
from reports.latency import UnitUse
from reports.roofline import Ceilings, OperatorCost
from reports.table import Column, Table, si

# Of a ceiling; a unit nearer than that is held back by it, one further off waits for others.
NEAR = 0.8


@dataclass(frozen=True)
class UnitPoint:
    """Hold a unit's operations per token, its bytes, its pace and what it could do at best."""

    recipe: str
    unit: str
    operations: int
    bytes_moved: float
    is_offchip: bool
    rate: float
    own_ceiling: float
    memory_ceiling: float | None

    @property
    def intensity(self) -> float:
        """Return operations per byte."""
        return self.operations / self.bytes_moved

    @property
    def ceiling(self) -> float:
        """Return the lowest ceiling."""
        return min(self.own_ceiling, self.memory_ceiling or self.own_ceiling)

    @property
    def binds(self) -> str:
        """Name what keeps the unit from going faster."""
        if self.rate < NEAR * self.ceiling:
            return "waits for others"
        return "its lanes" if self.ceiling == self.own_ceiling else "the memory"


def unit_points(
    recipe: str, costs: Sequence[OperatorCost], uses: Sequence[UnitUse], ceilings: Ceilings
) -> tuple[UnitPoint, ...]:
    """Return a point per unit that computes, the busiest first."""
    found = []
    for use in sorted((u for u in uses if u.recipe == recipe), key=lambda u: -u.busy_cycles):
        own = [c for c in costs if c.unit == use.unit]
        operations = sum(c.counted_operations for c in own)
        offchip = sum(c.bytes_offchip for c in own)
        moved = offchip or sum(c.bytes_moved for c in own)
        if not operations or not moved or not use.busy_cycles:
            continue
        memory = ceilings.memory_bytes_per_s * operations / moved if offchip else None
        found.append(
            UnitPoint(
                recipe,
                use.unit,
                operations,
                moved,
                bool(offchip),
                operations * ceilings.clock_hz / use.token_cycles,
                operations * ceilings.clock_hz / use.busy_cycles,
                memory,
            )
        )
    return tuple(found)


def unit_table(points: Sequence[UnitPoint]) -> Table:
    """Print a row per recipe and unit."""
    columns = (
        Column("recipe", "recipe"),
        Column("unit", "unit"),
        Column("operations", "operations per token", "derived"),
        Column("intensity", "operations per byte", "modelled", "3"),
        Column("where", "bytes are"),
        Column("rate", "operations/s", "modelled", "4"),
        Column("own_ceiling", "its lanes' ceiling", "modelled", "4"),
        Column("memory_ceiling", "the memory's ceiling", "modelled", "4"),
        Column("share", "share of the lowest", "modelled", ".1%"),
        Column("binds", "held back by"),
    )
    rows = tuple(
        (
            p.recipe,
            p.unit,
            p.operations,
            p.intensity,
            "off chip" if p.is_offchip else "on chip",
            p.rate,
            p.own_ceiling,
            p.memory_ceiling,
            p.rate / p.ceiling,
            p.binds,
        )
        for p in points
    )
    return Table("unit_rooflines", "Units against their ceilings", columns, rows)


def unit_roofline(title: str, points: Sequence[UnitPoint], ceilings: Ceilings) -> Roofline:
    """Draw a point per unit, with a stem up to the ceiling of its lanes."""
    drawn = tuple(
        Point(
            p.unit,
            p.unit.split(".")[0],
            p.intensity,
            p.rate,
            p.is_offchip,
            f"{p.unit}: {si(p.rate, 'operations/s')} of {si(p.own_ceiling, 'operations/s')} that "
            f"its lanes allow, {p.intensity:.3g} operations per "
            f"{'off-chip' if p.is_offchip else 'on-chip'} byte, held back by {p.binds}",
            p.own_ceiling,
        )
        for p in points
    )
    lines = (
        Ceiling(ceilings.compute_label, ceilings.compute_operations_per_s, sloped=False),
        Ceiling(ceilings.memory_label, ceilings.memory_bytes_per_s, sloped=True),
    )
    note = "Over the whole token. The stem of a unit ends at the ceiling of its own lanes."
    return Roofline("unit-roofline", title, "modelled", drawn, lines, note)
