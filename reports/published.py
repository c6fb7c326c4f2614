"""Print what was published of the same model, bits and machine beside a run of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table

TITLE = "Published accelerators of this model, these bits and this machine"
NAME = "published"


@dataclass(frozen=True)
class PublishedRow:
    """Hold a published figure, ours, and its error in percent; `ours_is` says what it rests on."""

    recipe: str
    design: str
    figure: str
    given: float
    modelled: float
    error_percent: float
    ours_is: str
    source: str


def table(rows: Sequence[PublishedRow], note: str = "") -> Table:
    """Print a row per figure, our error beside it."""
    columns = (
        Column("recipe", "recipe"),
        Column("design", "published"),
        Column("figure", "figure"),
        Column("given", "given", "given"),
        Column("modelled", "ours", "modelled"),
        Column("error_percent", "error, %", "modelled", "+z.1f"),
        Column("ours_is", "ours is"),
        Column("source", "given by"),
    )
    cells = tuple(
        (r.recipe, r.design, r.figure, r.given, r.modelled, r.error_percent, r.ours_is, r.source)
        for r in rows
    )
    return Table(NAME, TITLE, columns, cells, note)
