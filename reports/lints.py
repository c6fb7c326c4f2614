"""Show what each quantisation step cost, and what the lints say about the graph it gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table


@dataclass(frozen=True)
class StepRow:
    """Say what one step of a recipe did: `error` is None where nothing had to be measured."""

    recipe: str
    name: str
    keeps_function: bool
    error: float | None
    seconds: float


@dataclass(frozen=True)
class LintRow:
    """Say what a lint found: its value beside its limit, whether it warns, and the sentence."""

    recipe: str
    kind: str
    where: str
    value: float
    limit: float
    warns: bool
    sentence: str


def steps_table(steps: Sequence[StepRow]) -> Table:
    """Print the steps of all recipes in their order."""
    rows = tuple(
        (
            s.recipe,
            s.name,
            "keeps the function" if s.keeps_function else "changes it",
            s.error,
            s.seconds,
        )
        for s in steps
    )
    columns = (
        Column("recipe", "recipe"),
        Column("step", "step"),
        Column("function", "function"),
        Column("error", "error", "measured", "3"),
        Column("seconds", "time, s", "measured", ".1f"),
    )
    return Table("steps", "Quantisation steps", columns, rows)


def lints_table(lints: Sequence[LintRow], all_of_them: bool = True) -> Table:
    """Print a row per finding, warnings first; or the warnings alone, and how many are fine."""
    columns = (
        Column("recipe", "recipe"),
        Column("verdict", "verdict"),
        Column("kind", "lint"),
        Column("where", "where"),
        Column("value", "value", "measured", "4"),
        Column("limit", "limit", "given", "4"),
        Column("sentence", "what it means"),
    )
    shown = sorted(lints, key=lambda x: not x.warns)
    fine = sum(not x.warns for x in lints)
    if not all_of_them:
        shown = [x for x in shown if x.warns]
    rows = tuple(
        (x.recipe, "warning" if x.warns else "fine", x.kind, x.where, x.value, x.limit, x.sentence)
        for x in shown
    )
    note = f"{len(lints) - fine} warnings; {fine} findings are within their limits."
    return Table("lints", "Lints", columns, rows, note)
