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
    """Say what a unit does in the cycles of one token: works, waits for input or for room."""

    recipe: str
    unit: str
    kind: str
    busy_cycles: float
    starved_cycles: float
    blocked_cycles: float
    token_cycles: float


def speed_table(speeds: Sequence[Speed]) -> Table:
    """Print a row per recipe."""
    columns = (
        Column("recipe", "recipe"),
        Column("machine", "machine"),
        Column("cycles_per_token", "cycles per token", "modelled", ",.0f"),
        Column("latency_cycles", "latency, cycles", "modelled"),
        Column("tokens_per_s", "tokens/s", "modelled", "4"),
        Column("energy_uj_per_token", "energy per token, µJ", "modelled", "4"),
        Column("binds", "what binds the design"),
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
        Column("kind", "kind"),
        Column("busy_cycles", "busy cycles", "modelled", ",.1f"),
        Column("starved_cycles", "waits for input, cycles", "modelled", ",.1f"),
        Column("blocked_cycles", "waits for room, cycles", "modelled", ",.1f"),
        Column("busy_share", "busy", "modelled", ".1%"),
    )
    rows = tuple(
        (
            u.recipe,
            u.unit,
            u.kind,
            u.busy_cycles,
            u.starved_cycles,
            u.blocked_cycles,
            u.busy_cycles / u.token_cycles,
        )
        for u in uses
    )
    return Table("units", "Units over the cycles of one token", columns, rows)


def unit_bars(recipe: str, uses: Sequence[UnitUse], most: int = 12) -> Bars:
    """Draw what the busiest units do in the cycles of one token."""
    own = sorted((u for u in uses if u.recipe == recipe), key=lambda u: -u.busy_cycles)
    bars = []
    for u in own[:most]:
        rest = u.token_cycles - u.busy_cycles - u.starved_cycles - u.blocked_cycles
        pieces = (
            ("busy", u.busy_cycles),
            ("waits for room", u.blocked_cycles),
            ("waits for input", u.starved_cycles),
            ("idle", max(rest, 0.0)),
        )
        parts = tuple(
            Part(label, cycles, f"{cycles:,.0f} cycles, {cycles / u.token_cycles:.1%}")
            for label, cycles in pieces
        )
        bars.append(Bar(u.unit, parts, f"{u.busy_cycles / u.token_cycles:.1%} busy"))
    note = "Units work side by side, so that their cycles do not add up."
    if len(own) > most:
        note += f" {len(own) - most} more are busy for less."
    return Bars("units", f"Units over one token, {recipe}", "modelled", tuple(bars), note)


def task_bars(recipe: str, tasks: Sequence[tuple[str, int]], most: int = 12) -> Bars:
    """Draw the tasks that hold their units longest; `tasks` are (task, cycles per token)."""
    ranked = sorted(tasks, key=lambda item: -item[1])
    total = sum(cycles for _, cycles in ranked) or 1
    bars = []
    for name, cycles in ranked[:most]:
        text = f"{cycles:,} cycles, {cycles / total:.1%}"
        bars.append(Bar(name, (Part("busy", cycles, text),), text))
    rest = sum(cycles for _, cycles in ranked[most:])
    note = "A task is the operators that one unit does in one go."
    if rest:
        note += f" {len(ranked) - most} more take {rest / total:.1%} together."
    return Bars("tasks", f"Unit cycles by task, {recipe}", "modelled", tuple(bars), note)
