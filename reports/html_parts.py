"""Turn tables, bars and headlines into pieces of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reports.chart import Bar, Bars
from reports.headline import Headline
from reports.scatter import Scatter
from reports.svg import shape_path
from reports.svg_scatter import scatter_svg
from reports.table import Cell, Column, Origin, Table, show

WIDE_PX, NARROW_PX = (1040, 440), (336, 380)
LONG_TEXT = 40  # characters; a longer cell gets room before it wraps
QUIET = {"idle": "idle", "waits for input": "waits"}  # what is not used has no colour of its own


def origin_html(origin: Origin) -> str:
    """Mark a number with its origin."""
    return f'<span class="origin">{origin}</span>'


def tile_html(headline: Headline) -> str:
    """Show one number large."""
    return (
        f'<div class="tile"><div class="label">{escape(headline.label)}</div>'
        f'<div class="value">{escape(headline.value)}</div>'
        f'<div class="detail">{escape(headline.detail)} {origin_html(headline.origin)}</div></div>'
    )


def table_html(table: Table, tall: bool = False) -> str:
    """Show a table whose heads sort it; it scrolls by itself where the screen is narrow."""
    heads = "".join(_head(c) for c in table.columns)
    rows = "".join(
        "<tr>" + "".join(_cell(x, c) for x, c in zip(row, table.columns, strict=True)) + "</tr>"
        for row in table.rows
    )
    note = f'<p class="soft">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll{" tall" if tall else ""}" tabindex="0" role="region" '
        f'aria-label="{escape(table.title)}"><table id="t-{table.name}">'
        f"<caption>{escape(table.title)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{note}"
    )


def _head(column: Column) -> str:
    button = f'<button type="button">{escape(column.title)}</button>'
    if column.origin is None:
        return f'<th scope="col">{button}</th>'
    return f'<th scope="col" class="num">{button}<br>{origin_html(column.origin)}</th>'


def _cell(cell: Cell, column: Column) -> str:
    text = escape(show(cell, column))
    if column.origin is None:
        kind = "text long" if len(text) > LONG_TEXT else "text"
        return f'<td class="{kind}">{text}</td>'
    value = "" if cell is None else repr(cell)
    return f'<td class="num" data-value="{escape(value)}">{text}</td>'


def bars_html(chart: Bars) -> str:
    """Show bars that fill the width there is, with their numbers as text."""
    if not chart.bars:
        return ""
    rows = "".join(_bar(bar, chart) for bar in chart.bars)
    legend = legend_html(chart.series) if len(chart.series) > 1 else ""
    note = f'<p class="soft">{escape(chart.note)}</p>' if chart.note else ""
    return (
        f"<div><h3>{escape(chart.title)} {origin_html(chart.origin)}</h3>{legend}"
        f'<div class="bars">{rows}</div>{note}</div>'
    )


def _bar(bar: Bar, chart: Bars) -> str:
    pieces = "".join(
        f'<span class="part {_kind(part.label, chart.series)}" '
        f'style="width:{100 * part.value / chart.longest:.3f}%" '
        f'data-tip="{escape(f"{bar.label}, {part.label}: {part.text}")}"></span>'
        for part in bar.parts
        if part.value > 0
    )
    return (
        f'<div class="bar"><span class="name">{escape(bar.label)}</span>'
        f'<span class="track" aria-hidden="true">{pieces}</span>'
        f'<span class="amount">{escape(bar.text)}</span></div>'
    )


def scatter_html(chart: Scatter) -> str:
    """Show points over two axes, wide or narrow."""
    return (
        f'<figure style="margin:0"><h3>{escape(chart.title)} {origin_html(chart.origin)}</h3>'
        f"{legend_html(chart.series, shapes=True)}"
        f'<div class="wide">{scatter_svg(chart, *WIDE_PX)}</div>'
        f'<div class="narrow">{scatter_svg(chart, *NARROW_PX)}</div>'
        f'<p class="soft">{escape(chart.note)}</p></figure>'
    )


def _kind(label: str, series: Sequence[str]) -> str:
    return QUIET.get(label) or f"s{list(series).index(label) % 8}"


def legend_html(series: Sequence[str], shapes: bool = False) -> str:
    """Name the series beside their colours, and beside their shapes where points have them."""
    entries = []
    for k, label in enumerate(series):
        mark = (
            f'<svg viewBox="-8 -8 16 16" aria-hidden="true"><path class="s{k % 8}" '
            f'd="{shape_path(k % 8, 0, 0)}"/></svg>'
            if shapes
            else f'<i class="{_kind(label, series)}"></i>'
        )
        entries.append(f'<li data-series="{escape(label)}">{mark}{escape(label)}</li>')
    return f'<ul class="legend">{"".join(entries)}</ul>'
