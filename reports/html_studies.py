"""Turn what was studied beside a run into HTML: lengths, a design space, published machines."""

from __future__ import annotations

from html import escape

from reports import lengths
from reports.html_parts import scatter_html, table_html
from reports.lengths import LengthRow
from reports.pareto import DesignSpace, charts, counts_table, front_table
from reports.validation import Validation, section_html

MOST_ROWS = 100


def lengths_html(rows: tuple[LengthRow, ...]) -> str:
    """Show cost against length; nothing where nothing was priced."""
    if not rows:
        return ""
    drawn = "".join(scatter_html(chart) for chart in lengths.charts(rows))
    table = table_html(lengths.table(rows), tall=True)
    return f"{drawn}<details><summary>Lengths in numbers</summary>{table}</details>"


def space_html(space: DesignSpace | None) -> str:
    """Show the front of a sweep; the sweep's own page has every point."""
    if space is None:
        return ""
    front = front_table(space)
    drawn = "".join(scatter_html(chart) for chart in charts(space))
    told = (
        f'<p class="soft">The sweep “{escape(space.name)}”, by cosim {escape(space.version)}.</p>'
    )
    if len(front.rows) > MOST_ROWS:
        drawn += f'<p class="soft">The sweep\'s own page has all {len(front.rows):,} points.</p>'
        return told + table_html(counts_table(space)) + drawn
    details = f"<details><summary>The front in numbers</summary>{table_html(front, tall=True)}"
    return f"{told}{table_html(counts_table(space))}{drawn}{details}</details>"


def validation_html(found: Validation | None) -> str:
    """Show published accelerators beside the model."""
    return "" if found is None else section_html(found)
