"""Draw the charts of a run with matplotlib, as SVG and PNG files, from the data the page shows.

Nothing here touches matplotlib's global state, and the same run gives the same SVG text.
"""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from reports import accuracy, energy, latency, lengths, resources, roofline
from reports.chart import Bars, Roofline, Timeline, limits
from reports.roofline_units import unit_points, unit_roofline
from reports.scatter import Scatter
from reports.summary import Summary
from reports.timeline import timeline

# The page's light colours, in the same order; told apart by lightness and by marker as well.
COLOURS = ("#2a6fc9", "#d95f1e", "#0f8f68", "#b8860b", "#6a4fc4", "#c2468a", "#4d7a00", "#b23b3b")
MARKERS = ("o", "s", "D", "^", "v")
QUIET = {"idle": "#ecece6", "waits for input": "#c3c8cf"}
STYLE: Any = {  # matplotlib types the keys one by one
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "svg.hashsalt": "cosim",
    "svg.fonttype": "none",
}


def bars_figure(chart: Bars) -> Figure:
    """Draw horizontal bars, the first on top, each with its number."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 1.2 + 0.32 * len(chart.bars)), layout="constrained")
        axes = figure.subplots()
        series = chart.series
        for row, bar in enumerate(chart.bars):
            left = 0.0
            for part in bar.parts:
                colour = QUIET.get(part.label, COLOURS[series.index(part.label) % len(COLOURS)])
                label = part.label if row == 0 else None
                axes.barh(row, part.value, left=left, color=colour, label=label, height=0.7)
                left += part.value
            axes.text(left + 0.01 * chart.longest, row, bar.text, va="center", fontsize=8)
        axes.set_yticks(range(len(chart.bars)), [bar.label for bar in chart.bars])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.25 * chart.longest)
        axes.set_xticks([])
        axes.spines.bottom.set_visible(False)
        axes.set_title(f"{chart.title} ({chart.origin})", loc="left")
        if len(series) > 1:
            figure.legend(loc="outside lower center", ncols=min(len(series), 4), frameon=False)
    return figure


def roofline_figure(chart: Roofline) -> Figure:
    """Draw operators under their ceilings; hollow ones read off-chip memory."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 4.2), layout="constrained")
        axes = figure.subplots()
        x_low, x_high, y_low, y_high = limits(chart)
        flat = [c for c in chart.ceilings if not c.sloped]
        sloped = [c for c in chart.ceilings if c.sloped]
        top = max((c.rate for c in flat), default=y_high)
        for c in flat:
            begin = max((c.rate / s.rate for s in sloped), default=x_low)
            axes.plot([begin, x_high], [c.rate, c.rate], color="black", linewidth=1)
            axes.annotate(c.label, (x_high, c.rate), (0, 3), textcoords="offset points", ha="right")
        for c in sloped:
            ends = [x_low, top / c.rate]
            axes.plot(ends, [x * c.rate for x in ends], color="black", linewidth=1)
            middle = (ends[0] * ends[1]) ** 0.5
            axes.annotate(
                c.label, (middle, middle * c.rate), (-4, 4), textcoords="offset points", ha="right"
            )
        for p in chart.points:
            if p.own_ceiling is not None:
                ends = [p.y, p.own_ceiling]
                axes.plot([p.x, p.x], ends, color="#565b66", linewidth=0.8, marker="_")
        for k, name in enumerate(chart.series):
            own = [p for p in chart.points if p.series == name]
            colour = COLOURS[k % len(COLOURS)]
            axes.scatter(
                [p.x for p in own],
                [p.y for p in own],
                label=name,
                marker=MARKERS[k % len(MARKERS)],
                facecolors=["white" if p.hollow else colour for p in own],
                edgecolors=[colour if p.hollow else "white" for p in own],
                zorder=3,
            )
        axes.set(xscale="log", yscale="log", xlim=(x_low, x_high), ylim=(y_low, y_high))
        axes.set(xlabel="operations per byte", ylabel="operations/s")
        axes.grid(True, color="#e8e8e2", linewidth=0.6)
        axes.set_title(f"{chart.title} ({chart.origin})", loc="left")
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False
        )
    return figure


def timeline_figure(chart: Timeline) -> Figure:
    """Draw a track per unit, the first one on top."""
    with mpl.rc_context(STYLE):
        tracks, series = chart.tracks, chart.series
        figure = Figure(figsize=(7.0, 1.2 + 0.24 * len(tracks)), layout="constrained")
        axes = figure.subplots()
        for k, name in enumerate(series):
            own = [s for s in chart.spans if s.series == name]
            axes.barh(
                [tracks.index(s.track) for s in own],
                [s.end - s.start for s in own],
                left=[s.start for s in own],
                color=COLOURS[k % len(COLOURS)],
                height=0.8,
                label=name,
            )
        axes.set_yticks(range(len(tracks)), tracks)
        axes.invert_yaxis()
        axes.set_xlim(0, chart.end)
        axes.set_xlabel("cycles")
        axes.set_title(f"{chart.title} ({chart.origin})", loc="left")
        figure.legend(loc="outside lower center", ncols=min(len(series), 8), frameon=False)
    return figure


def scatter_figure(chart: Scatter) -> Figure:
    """Draw points over two axes, those that others beat hollow, and the stairs of the front."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 4.2), layout="constrained")
        axes = figure.subplots()
        if chart.stairs:
            axes.plot(*zip(*chart.stairs, strict=True), color="#565b66", linewidth=1, zorder=1)
        for k, line in enumerate(chart.lines().values()):
            axes.plot(*zip(*line, strict=True), color=COLOURS[k % len(COLOURS)], zorder=1)
        for k, name in enumerate(chart.series):
            own = [d for d in chart.dots if d.series == name]
            own.sort(key=lambda d: d.stands_out)
            colour = COLOURS[k % len(COLOURS)]
            axes.scatter(
                [d.x for d in own],
                [d.y for d in own],
                label=name,
                marker=MARKERS[k % len(MARKERS)],
                facecolors=[colour if d.stands_out else "white" for d in own],
                edgecolors=["white" if d.stands_out else colour for d in own],
                zorder=2,
            )
        for axis, which in ((chart.x, "x"), (chart.y, "y")):
            scale = "log" if axis.is_log else "linear"
            axes.set(**{f"{which}scale": scale, f"{which}lim": (axis.low, axis.high)})
            told = f" ({axis.better} is better)" if axis.better else ""
            axes.set(**{f"{which}label": axis.title + told})
        axes.grid(True, color="#e8e8e2", linewidth=0.6)
        axes.set_title(f"{chart.title} ({chart.origin})", loc="left")
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
        )
    return figure


def run_figures(run: Summary) -> dict[str, Figure]:
    """Return all figures of a run by file stem; what was not asked for has none."""
    found: dict[str, Figure] = {}
    charts: tuple[Bars, ...] = (accuracy.bars(run.accuracy), energy.bars(run.energy))
    for chart in charts:
        if chart.bars:
            found[chart.name] = bars_figure(chart)
    for part in run.costs:
        points = roofline.roofline(f"Roofline, {part.recipe}", part.costs, part.ceilings)
        found[f"roofline-{part.recipe}"] = roofline_figure(points)
        units = unit_points(part.recipe, part.costs, run.units, part.ceilings)
        of_units = unit_roofline(f"Roofline by unit, {part.recipe}", units, part.ceilings)
        found[f"unit-roofline-{part.recipe}"] = roofline_figure(of_units)
        bars = latency.task_bars(part.recipe, roofline.task_cycles(part.costs))
        found[f"tasks-{part.recipe}"] = bars_figure(bars)
        found[f"units-{part.recipe}"] = bars_figure(latency.unit_bars(part.recipe, run.units))
        spans = timeline(part.recipe, run.spans)
        if spans.spans:
            found[f"timeline-{part.recipe}"] = timeline_figure(spans)
    for number, design in enumerate(run.resources, 1):
        for chart in resources.bars(design):
            found[f"{chart.name}-{design.recipe}-{number}"] = bars_figure(chart)
    for cost in lengths.charts(run.lengths):
        found[cost.name] = scatter_figure(cost)
    return found


def render(figure: Figure) -> dict[str, bytes]:
    """Return the bytes of the SVG and the PNG, by suffix."""
    with mpl.rc_context(STYLE):
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=144)
    return {"svg": svg.getvalue(), "png": png.getvalue()}
