"""Draw points over two axes as inline SVG for the page; colours come from its style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reports.scatter import Axis, Scatter
from reports.svg import shape_path
from reports.table import si, significant

LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 70.0, 16.0, 14.0, 46.0
# Within this span numbers are written out, outside it with a prefix.
PLAIN = (0.01, 10_000.0)


def scatter_svg(chart: Scatter, width: int, height: int) -> str:
    """Return the SVG element; each point has its sentence in `data-tip`, the front can be focused.

    Points that others beat are hollow and lie below.
    """
    wide, high = width - LEFT_PX - RIGHT_PX, height - TOP_PX - BOTTOM_PX

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT_PX + chart.x.share(x) * wide, TOP_PX + (1 - chart.y.share(y)) * high

    opening = (
        f'<svg class="roofline" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="group" aria-label="{escape(chart.title)}">'
    )
    parts = [opening]
    base, right = TOP_PX + high, LEFT_PX + wide
    ticks = chart.y.ticks(7)
    for value, text in zip(ticks, tick_texts(ticks), strict=True):
        _, y = at(chart.x.low, value)
        parts.append(
            f'<line class="grid" x1="{LEFT_PX}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT_PX - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{text}</text>"
        )
    ticks = chart.x.ticks(9 if width > 500 else 4)
    for value, text in zip(ticks, tick_texts(ticks), strict=True):
        x, _ = at(value, chart.y.low)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP_PX}" y2="{base}"/>'
            f'<text class="tick" x="{x:.1f}" y="{base + 17}" text-anchor="middle">'
            f"{text}</text>"
        )
    parts.append(
        f'<text class="axis" x="{(LEFT_PX + right) / 2}" y="{height - 8}" text-anchor="middle">'
        f"{escape(_named(chart.x, '→', '←'))}</text>"
        f'<text class="axis" transform="translate(13 {(TOP_PX + base) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(_named(chart.y, "→", "←"))}</text>'
    )
    if chart.stairs:
        line = " ".join("{:.1f},{:.1f}".format(*at(*corner)) for corner in chart.stairs)
        parts.append(f'<polyline class="stem" points="{line}"/>')
    series = chart.series
    for name, places in chart.lines().items():
        points = " ".join("{:.1f},{:.1f}".format(*at(*place)) for place in places)
        kind = series.index(name) % 8
        parts.append(
            f'<polyline class="line s{kind}" points="{points}" data-series="{escape(name)}"/>'
        )
    for dot in sorted(chart.dots, key=lambda d: d.stands_out):
        kind = series.index(dot.series) % 8
        look = f"point s{kind}" if dot.stands_out else f"point s{kind} hollow"
        text = escape(dot.text)
        # What is beaten is for the pointer; a keyboard or a screen reader walks along the front.
        focus = f' tabindex="0" role="img" aria-label="{text}"' if dot.stands_out else ""
        parts.append(
            f'<path class="{look}" d="{shape_path(kind, *at(dot.x, dot.y))}"{focus} '
            f'data-tip="{text}" data-series="{escape(dot.series)}"/>'
        )
    return "".join([*parts, "</svg>"])


def tick_texts(values: Sequence[float]) -> list[str]:
    """Write the numbers at the ticks of one axis, all with a prefix or all without.

    >>> tick_texts([0.0, 0.3]), tick_texts([2000.0, 5000.0]), tick_texts([0.0, 5e3, 1e4])
    (['0', '0.3'], ['2,000', '5,000'], ['0', '5 k', '10 k'])
    """
    sizes = [abs(v) for v in values if v]
    if all(PLAIN[0] <= v < PLAIN[1] for v in sizes):
        return [significant(v, 6) for v in values]
    return [si(v, "").rstrip() for v in values]


def _named(axis: Axis, up: str, down: str) -> str:
    if axis.better is None:
        return axis.title
    return f"{axis.title} (better {up if axis.better == 'more' else down})"
