"""Show when each unit works on what, over the first layers of a token, and who keeps it waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.chart import Span, Timeline
from reports.table import Column, Table

MOST_SPANS = 120  # of a recipe; more would be thinner than a pixel


@dataclass(frozen=True)
class TaskSpan:
    """Hold one task of one turn on one unit, from its first firing to the end of its last."""

    recipe: str
    segment: str
    unit: str
    task: str
    turn: int
    start_cycle: int
    end_cycle: int


@dataclass(frozen=True)
class Stall:
    """Say for how many cycles of a token a unit waits, at which FIFO, for which other unit.

    `cause`: `input` where the FIFO is empty, `room` where it is full.
    """

    recipe: str
    unit: str
    cause: str
    fifo: str
    other: str
    cycles: float
    token_cycles: float


def timeline(recipe: str, spans: Sequence[TaskSpan]) -> Timeline:
    """Draw the stretches of a recipe, a colour per turn (a layer, or a token where none repeat)."""
    own = [s for s in spans if s.recipe == recipe]
    drawn = tuple(
        Span(
            s.unit,
            f"turn {s.turn}",
            s.start_cycle,
            s.end_cycle,
            f"{s.unit}: {s.task.replace('*', str(s.turn))}, cycles {s.start_cycle:,} to "
            f"{s.end_cycle:,} ({s.end_cycle - s.start_cycle:,})",
        )
        for s in own
    )
    note = "From the first firing of a task to the end of its last, waits included."
    if len(own) >= MOST_SPANS:
        note += f" The first {len(own)} tasks; trace.json has them all."
    return Timeline("timeline", f"Timeline of the first layers, {recipe}", "modelled", drawn, note)


def stalls_table(stalls: Sequence[Stall]) -> Table:
    """Print a row per recipe, unit and FIFO that it waits at, in the order given."""
    columns = (
        Column("recipe", "recipe"),
        Column("unit", "unit"),
        Column("cause", "waits for"),
        Column("fifo", "FIFO"),
        Column("other", "kept waiting by"),
        Column("cycles", "cycles per token", "modelled", ",.1f"),
        Column("share", "share of the token", "modelled", ".1%"),
    )
    rows = tuple(
        (s.recipe, s.unit, s.cause, s.fifo, s.other, s.cycles, s.cycles / s.token_cycles)
        for s in stalls
    )
    return Table("stalls", "Who waits for whom", columns, rows)
