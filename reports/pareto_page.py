"""Write a sweep as one self-contained HTML page, in the frame of the other reports."""

from __future__ import annotations

from html import escape

from reports.headline import Headline
from reports.html_page import fill_page
from reports.html_parts import scatter_html, table_html, tile_html
from reports.pareto import (
    DesignSpace,
    charts,
    counts_table,
    front_table,
    points_table,
    reasons_table,
)
from reports.table import Table, show

MOST_ROWS = 500


def pareto_page(space: DesignSpace) -> str:
    """Return the whole HTML page of a sweep."""
    return fill_page(
        f"{space.name}: design space",
        _header(space),
        (
            ("front", "Pareto front", _front(space)),
            ("points", "Points", _points(space)),
            ("sources", "Sources", _sources(space)),
        ),
        space.version,
    )


def _header(space: DesignSpace) -> str:
    out = sum(bool(p.reason) for p in space.points)
    tiles = [
        Headline("points", f"{len(space.points):,}", "derived", f"{out:,} of them do not fit"),
        Headline("on the front", f"{len(space.front):,}", "derived"),
    ]
    for objective in space.objectives:
        column = space.column(objective.key)
        values = [space.value(p, objective.key) for p in space.front]
        if values:
            best = max(values) if objective.better == "more" else min(values)
            word = "most" if objective.better == "more" else "least"
            origin = column.origin or "modelled"
            tiles.append(Headline(f"{word} {column.title}", show(best, column), origin))
    return (
        f"<h1>{escape(space.name)}</h1>\n"
        '<p class="soft">Each point is a design: a model by a recipe, mapped on a machine. A point '
        "is on the front where no other point is at least as good in every objective and better in "
        "one.</p>\n"
        f'<div class="tiles">{"".join(tile_html(t) for t in tiles)}</div>'
    )


def _front(space: DesignSpace) -> str:
    if not space.front:
        return '<p class="verdict bad">No point fits: see why below.</p>'
    return "".join(scatter_html(chart) for chart in charts(space)) + _table(front_table(space))


def _points(space: DesignSpace) -> str:
    reasons = reasons_table(space)
    search = (
        '<input type="search" hidden data-table="t-points" '
        'placeholder="Filter: machine, recipe, reason ..." aria-label="Filter the points">'
    )
    return (
        table_html(counts_table(space))
        + (table_html(reasons) if reasons.rows else "")
        + f"<details><summary>Every point</summary>{search}{_table(points_table(space))}</details>"
    )


def _table(table: Table) -> str:
    """Show the first rows of a table; files hold all of them."""
    if len(table.rows) <= MOST_ROWS:
        return table_html(table, tall=True)
    note = f"The first {MOST_ROWS} of {len(table.rows):,} rows; points.csv has all. {table.note}"
    cut = Table(table.name, table.title, table.columns, table.rows[:MOST_ROWS], note)
    return table_html(cut, tall=True)


def _sources(space: DesignSpace) -> str:
    return "".join(
        f"<h3>{escape(name)}</h3><pre>{escape(text)}</pre>" for name, text in space.facts
    )
