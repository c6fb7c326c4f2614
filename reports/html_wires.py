"""Turn what was found of a run's wires into HTML: exactness in bits and cycles, and resources."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reports import resources, wires, wires_units
from reports.html_parts import bars_html, table_html
from reports.resources import Resources
from reports.wires import WiresCheck
from reports.wires_units import UnitCheck


def wires_html(whole: Sequence[WiresCheck], units: Sequence[UnitCheck], stale: int) -> str:
    """Show whether the wires agree, end to end and unit by unit; nothing where none was compared.

    `stale` comparisons are of another graph or of other code: they are counted, not shown.
    """
    parts = []
    if whole or units:
        parts.append(_verdict(whole, units))
    if whole:
        parts.append(table_html(wires.table(whole)))
    if units:
        parts.append(table_html(wires_units.table(units), tall=True))
    if stale:
        parts.append(
            f'<p class="soft">{stale:,} records of wires in this run folder are of another graph, '
            "or of other code than today's, and are left out; <code>cosim verify --level</code> "
            "and <code>cosim synth</code> make them again.</p>"
        )
    return "".join(parts)


def _verdict(whole: Sequence[WiresCheck], units: Sequence[UnitCheck]) -> str:
    wrong = [c.sentence for c in whole if not c.is_exact]
    wrong += [c.sentence for c in units if not c.is_exact]
    if wrong:
        text = escape("; ".join(wrong))
        return f'<p class="verdict bad">The wires differ. {text}</p>'
    integers = sum(c.integers for c in whole) + sum(c.integers for c in units)
    beats = sum(c.beats for c in whole) + sum(c.beats for c in units)
    timed = f"and each of {beats:,} beats moved in its predicted cycle" if beats else (
        "cycles were not compared")  # fmt: skip
    return (
        f'<p class="verdict good">All of {integers:,} compared integers of the wires are equal, '
        f"{timed}.</p>"
    )


def resources_html(found: Sequence[Resources]) -> str:
    """Show what each unit takes, design by design."""
    if not found:
        return ""
    drawn = []
    for one in found:
        charts = "".join(bars_html(chart) for chart in resources.bars(one))
        drawn.append(f'<div class="columns">{charts}</div>')
    drawn.append(table_html(resources.table(found), tall=True))
    if any(one.placed for one in found):
        drawn.append(table_html(resources.placement_table(found), tall=True))
    return "".join(drawn)
