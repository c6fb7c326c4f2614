"""Say how fast a machine would run the graph, and what its units do meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.chart import Bar, Bars, Part
from reports.table import Column, Table


@dataclass(frozen=True)
class Speed:
    """Hold the modelled speed of one recipe on one machine."""

    recipe: str
    machine: str
    cycles_per_token: float
    latency_cycles: int
    tokens_per_s: float
    energy_pj_per_token: float
    binds: str


@dataclass(frozen=True)
class UnitUse:
    """Say how many cycles of one token a unit works and waits; the rest of them it is idle."""

    recipe: str
    unit: str
    busy_cycles: int
    stall_cycles: int
    token_cycles: float


def speed_table(speeds: Sequence[Speed]) -> Table:
    """Print a row per recipe."""
    columns = (
        Column("recipe", "recipe"),
        Column("machine", "machine"),
        Column("cycles_per_token", "cycles per token", "modelled", ",.0f"),
        Column("latency_cycles", "latency of a token, cycles", "modelled"),
        Column("tokens_per_s", "tokens/s", "modelled", "4"),
        Column("energy_uj_per_token", "energy per token, µJ", "modelled", "4"),
        Column("binds", "bound by"),
    )
    rows = tuple(
        (
            s.recipe,
            s.machine,
            s.cycles_per_token,
            s.latency_cycles,
            s.tokens_per_s,
            s.energy_pj_per_token / 1e6,
            s.binds,
        )
        for s in speeds
    )
    return Table("speed", "Speed and energy of one token", columns, rows)


def units_table(uses: Sequence[UnitUse]) -> Table:
    """Print a row per recipe and unit."""
    columns = (
        Column("recipe", "recipe"),
        Column("unit", "unit"),
        Column("busy_cycles", "busy cycles", "modelled"),
        Column("stall_cycles", "stall cycles", "modelled"),
        Column("busy_share", "busy", "modelled", ".1%"),
        Column("stall_share", "stalled", "modelled", ".1%"),
    )
    rows = tuple(
        (
            u.recipe,
            u.unit,
            u.busy_cycles,
            u.stall_cycles,
            u.busy_cycles / u.token_cycles,
            u.stall_cycles / u.token_cycles,
        )
        for u in uses
    )
    return Table("units", "Units over the cycles of one token", columns, rows)


def unit_bars(recipe: str, uses: Sequence[UnitUse]) -> Bars:
    """Draw each unit's cycles of one token: busy, stalled, idle."""
    bars = []
    for u in uses:
        if u.recipe != recipe:
            continue
        idle = max(u.token_cycles - u.busy_cycles - u.stall_cycles, 0.0)
        pieces = (("busy", u.busy_cycles), ("stalled", u.stall_cycles), ("idle", idle))
        parts = tuple(
            Part(label, cycles, f"{cycles:,.0f} cycles, {cycles / u.token_cycles:.1%}")
            for label, cycles in pieces
        )
        bars.append(Bar(u.unit, parts, f"{u.busy_cycles / u.token_cycles:.0%} busy"))
    return Bars(
        "units",
        f"Units over one token, {recipe}",
        "modelled",
        tuple(bars),
        note="Units work side by side, so that their cycles do not add up.",
    )


def operator_bars(recipe: str, costs: Sequence[tuple[str, int]], most: int = 12) -> Bars:
    """Draw the operators that keep their units busy longest; `costs` are (operator, cycles)."""
    ranked = sorted(costs, key=lambda item: -item[1])
    total = sum(cycles for _, cycles in ranked) or 1
    bars = [
        Bar(
            name,
            (Part("busy", cycles, f"{cycles:,} cycles, {cycles / total:.1%}"),),
            f"{cycles:,} cycles, {cycles / total:.1%}",
        )
        for name, cycles in ranked[:most]
    ]
    rest = sum(cycles for _, cycles in ranked[most:])
    note = f"{len(ranked) - most} more take {rest / total:.1%} together." if rest else ""
    return Bars("operators", f"Busy cycles by operator, {recipe}", "modelled", tuple(bars), note)
