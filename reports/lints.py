"""Show what each quantisation step cost, and what the lints say about the graph it gave.

A lint of a state has a value per head (per channel in Mamba-1): its sentence names the worst, the
page lists all, `summary.json` and `lints.csv` hold them in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table, significant


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
    """Say what a lint found: its value beside its limit, whether it warns, and the sentence.

    `heads` are the values of all heads in their order, empty where the lint has none.
    """

    recipe: str
    kind: str
    where: str
    value: float
    limit: float
    warns: bool
    sentence: str
    heads: tuple[float, ...] = ()


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


def heads_records(lints: Sequence[LintRow]) -> list[dict[str, object]]:
    """Return the values of all heads as JSON objects, one per lint that has heads."""
    return [
        {
            "recipe": x.recipe,
            "kind": x.kind,
            "where": x.where,
            "limit": x.limit,
            "origin": "measured",
            "values": list(x.heads),
        }
        for x in lints
        if x.heads
    ]


def heads_table(lints: Sequence[LintRow]) -> Table:
    """Print a row per lint that has heads: how many, their range, and every value by number."""
    columns = (
        Column("recipe", "recipe"),
        Column("kind", "lint"),
        Column("where", "where"),
        Column("heads", "heads", "derived"),
        Column("least", "least", "measured"),
        Column("most", "most", "measured"),
        Column("limit", "limit", "given"),
        Column("values", "head: value, measured"),
    )
    rows = tuple(
        (
            x.recipe,
            x.kind,
            x.where,
            len(x.heads),
            min(x.heads),
            max(x.heads),
            x.limit,
            ", ".join(f"{k}: {significant(v, 3)}" for k, v in enumerate(x.heads)),
        )
        for x in lints
        if x.heads
    )
    return Table("lint_heads", "Lints, head by head", columns, rows)


def heads_csv(lints: Sequence[LintRow]) -> str:
    """Return `lints.csv`: a row per lint and head, with full precision; no head: an empty field."""
    columns = (
        Column("recipe", "recipe"),
        Column("kind", "lint"),
        Column("where", "where"),
        Column("head", "head", "derived"),
        Column("value", "value", "measured"),
        Column("limit", "limit", "given"),
        Column("verdict", "verdict"),
    )
    rows = tuple(
        (x.recipe, x.kind, x.where, head, value, x.limit, "warning" if x.warns else "fine")
        for x in lints
        for head, value in (enumerate(x.heads) if x.heads else [(None, x.value)])
    )
    return Table("lints", "Lints", columns, rows).csv()
