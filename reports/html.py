"""Write a run as one self-contained HTML page: no request leaves it, and it needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reports import accuracy, energy, latency, roofline
from reports.chart import Roofline
from reports.html_page import fill_page
from reports.html_parts import (
    NARROW_PX,
    WIDE_PX,
    bars_html,
    legend_html,
    origin_html,
    table_html,
    tile_html,
)
from reports.html_studies import lengths_html, space_html, validation_html
from reports.html_wires import resources_html, wires_html
from reports.lints import heads_table
from reports.roofline_units import unit_points, unit_roofline
from reports.summary import RecipeCosts, Summary, headlines
from reports.svg import roofline_svg
from reports.svg_timeline import timeline_svg
from reports.table import Origin, Table
from reports.timeline import timeline

ORIGIN_TEXT: tuple[tuple[Origin, str], ...] = (
    ("given", "put in by a person or a file"),
    ("derived", "counted on the graph"),
    ("modelled", "said by the cycle or energy model"),
    ("measured", "seen in an execution on this computer"),
)


def page(run: Summary) -> str:
    """Return the whole HTML page of a run."""
    tables = {t.name: t for t in run.tables()}
    sections = [
        ("coverage", "Coverage", _coverage(run, tables)),
        ("accuracy", "Accuracy", _accuracy(run, tables)),
        ("exactness", "Exactness", _exactness(run, tables)),
        ("wires", "Wires", wires_html(run.wires, run.wire_units, run.stale)),
        ("hardware", "Hardware", _hardware(run, tables)),
        ("resources", "Resources", resources_html(run.resources)),
        ("energy", "Energy", _energy(run, tables)),
        ("lengths", "Context length", lengths_html(run.lengths)),
        ("space", "Design space", space_html(run.space)),
        ("validation", "Validation", validation_html(run.validation)),
        ("quantisation", "Quantisation", _quantisation(run, tables)),
        ("samples", "Text", _samples(run)),
        ("sources", "Sources", _sources(run, tables)),
    ]
    title = f"{run.model}: {run.machine or 'integers'}"
    return fill_page(title, _header(run), sections, run.version)


def _header(run: Summary) -> str:
    tiles = "".join(tile_html(h) for h in headlines(run))
    on = f" on {escape(run.machine)}" if run.machine else ""
    return (
        f"<h1>{escape(run.model)}{on}</h1>\n"
        '<p class="soft">One integer graph per recipe: what it costs in accuracy, whether its '
        "executions agree bit for bit, and what a machine makes of it.</p>\n"
        f'<div class="tiles">{tiles}</div>'
    )


def _coverage(run: Summary, tables: dict[str, Table]) -> str:
    if "coverage" not in tables:
        return ""
    whole = all(c.is_whole for c in run.coverage)
    verdict = (
        '<p class="verdict good">The cycle and energy model covers every operator.</p>'
        if whole
        else '<p class="verdict bad">The cycle and energy model leaves operators out: '
        "what follows counts them as unknown, not as free.</p>"
    )
    operators = ""
    if "operators" in tables:
        operators = _details("What each operator has", table_html(tables["operators"]))
    return verdict + table_html(tables["coverage"]) + operators


def _accuracy(run: Summary, tables: dict[str, Table]) -> str:
    if "accuracy" not in tables:
        return ""
    return bars_html(accuracy.bars(run.accuracy)) + table_html(tables["accuracy"])


def _exactness(run: Summary, tables: dict[str, Table]) -> str:
    if "exactness" not in tables:
        return ""
    wrong = [c for c in run.exactness if not c.is_exact]
    if wrong:
        text = "; ".join(c.sentence for c in wrong)
        verdict = f'<p class="verdict bad">The executions differ. {escape(text)}</p>'
    else:
        verdict = '<p class="verdict good">Every compared integer is equal.</p>'
    return verdict + table_html(tables["exactness"])


def _hardware(run: Summary, tables: dict[str, Table]) -> str:
    if "speed" not in tables:
        return ""
    parts = [table_html(tables[name]) for name in ("speed", "published") if name in tables]
    recipes = [c.recipe for c in run.costs]
    parts.append(_choice(recipes))
    parts += [_of_recipe(run, costs) for costs in run.costs]
    if "operators_by_cost" in tables:
        table = tables["operators_by_cost"]
        search = (
            '<input type="search" hidden data-table="t-operators_by_cost" '
            'placeholder="Filter: recipe, operator, unit ..." aria-label="Filter the operators">'
        )
        parts.append(_details("Every operator", search + table_html(table, tall=True)))
    if "units" in tables:
        parts.append(_details("Units in numbers", table_html(tables["units"], tall=True)))
    for name, title in (
        ("unit_rooflines", "Units against their ceilings"),
        ("stalls", "Who waits for whom"),
        ("budget", "What the design takes"),
        ("storage", "What is kept where"),
        ("gpus", "GPUs at the same bits"),
    ):
        if name in tables:
            parts.append(_details(title, table_html(tables[name], tall=True)))
    return "\n".join(parts)


def _roofline(chart: Roofline) -> str:
    return (
        f'<figure style="margin:0"><h3>{escape(chart.title)} {origin_html(chart.origin)}</h3>'
        f"{legend_html(chart.series, shapes=True)}"
        f'<div class="wide">{roofline_svg(chart, *WIDE_PX)}</div>'
        f'<div class="narrow">{roofline_svg(chart, *NARROW_PX)}</div>'
        f'<p class="soft">{escape(chart.note)}</p></figure>'
    )


def _timeline(run: Summary, recipe: str) -> str:
    chart = timeline(recipe, run.spans)
    if not chart.spans:
        return ""
    return (
        f'<figure style="margin:0"><h3>{escape(chart.title)} {origin_html(chart.origin)}</h3>'
        f"{legend_html(chart.series)}"
        f'<div class="wide">{timeline_svg(chart, WIDE_PX[0])}</div>'
        f'<div class="narrow">{timeline_svg(chart, NARROW_PX[0])}</div>'
        f'<p class="soft">{escape(chart.note)}</p></figure>'
    )


def _of_recipe(run: Summary, part: RecipeCosts) -> str:
    title = f"Roofline, {part.recipe}"
    chart = roofline.roofline(title, part.costs, part.ceilings)
    tasks = latency.task_bars(part.recipe, roofline.task_cycles(part.costs))
    points = unit_points(part.recipe, part.costs, run.units, part.ceilings)
    of_units = unit_roofline(f"Roofline by unit, {part.recipe}", points, part.ceilings)
    figure = _roofline(chart) + (_roofline(of_units) if points else "")
    bars = (
        f'<div class="columns">{bars_html(tasks)}'
        f"{bars_html(latency.unit_bars(part.recipe, run.units))}</div>"
    )
    bars += _timeline(run, part.recipe)
    design = _details("The design", f"<pre>{escape(part.design)}</pre>") if part.design else ""
    return f'<div data-recipe="{escape(part.recipe)}">{figure}{bars}{design}</div>'


def _choice(recipes: Sequence[str]) -> str:
    if len(recipes) < 2:
        return ""
    buttons = "".join(
        f'<label><input type="radio" name="recipe" value="{escape(r)}"'
        f"{' checked' if k == 0 else ''}><span>{escape(r)}</span></label>"
        for k, r in enumerate(recipes)
    )
    return f'<fieldset class="choice" hidden><legend>Recipe</legend>{buttons}</fieldset>'


def _energy(run: Summary, tables: dict[str, Table]) -> str:
    if "energy" not in tables:
        return ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in run.notes)
    return (
        bars_html(energy.bars(run.energy))
        + (f'<ul class="soft">{notes}</ul>' if notes else "")
        + _details("Energy in numbers", table_html(tables["energy"]))
    )


def _quantisation(run: Summary, tables: dict[str, Table]) -> str:
    parts = []
    if "lints" in tables:
        parts.append(table_html(tables["lints"], tall=True))
    heads = heads_table(run.lints)
    if heads.rows:
        parts.append(_details(heads.title, table_html(heads, tall=True)))
    if "steps" in tables:
        parts.append(_details("Steps of each recipe", table_html(tables["steps"], tall=True)))
    return "".join(parts)


def _samples(run: Summary) -> str:
    return "".join(
        f"<h3>{escape(s.recipe)} {origin_html('measured')}</h3>"
        f'<pre><span class="soft">{escape(s.prompt)}</span>{escape(s.text)}</pre>'
        for s in run.samples
    )


def _sources(run: Summary, tables: dict[str, Table]) -> str:
    origins = "".join(f"<li>{origin_html(name)} {text}</li>" for name, text in ORIGIN_TEXT)
    hashes = "".join(
        f"<li>{escape(name)}: <code>{escape(digest)}</code></li>" for name, digest in run.hashes
    )
    parts = [
        f"<p>Each number is marked with its origin:</p><ul>{origins}</ul>",
        f"<p>This page again:</p><pre>{escape(run.command)}</pre>",
        f"<p>Content hashes:</p><ul>{hashes}</ul>" if hashes else "",
    ]
    parts += [
        _details(tables[name].title, table_html(tables[name]))
        for name in ("machine", "energy_constants", "energy_rules")
        if name in tables
    ]
    return "".join(parts)


def _details(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"
