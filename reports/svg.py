"""Draw a roofline as inline SVG for the page: colours come from its style sheet, by class.

Text keeps its size in CSS pixels, so that a picture is drawn for one width; the page holds one for
wide and one for narrow screens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from reports.chart import Roofline, limits
from reports.table import si

LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 14.0, 46.0
RADIUS = 5.0


@dataclass(frozen=True)
class Frame:
    """Map logarithmic axes to pixels."""

    width: float
    height: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @property
    def right(self) -> float:
        """Return the right end of the x axis."""
        return self.width - RIGHT

    def x(self, value: float) -> float:
        """Return the pixel of an intensity."""
        share = math.log(value / self.x_low) / math.log(self.x_high / self.x_low)
        return LEFT + share * (self.right - LEFT)

    def y(self, value: float) -> float:
        """Return the pixel of a rate."""
        share = math.log(value / self.y_low) / math.log(self.y_high / self.y_low)
        return self.height - BOTTOM - share * (self.height - BOTTOM - TOP)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten from low to high, thinned to at most so many.

    >>> ticks(1.0, 1e4, 8), ticks(1.0, 1e6, 4)
    ([1.0, 10.0, 100.0, 1000.0, 10000.0], [1.0, 100.0, 10000.0, 1000000.0])
    """
    first, last = round(math.log10(low)), round(math.log10(high))
    every = max(1, math.ceil((last - first + 1) / most))
    return [10.0**k for k in range(first, last + 1, every)]


def roofline_svg(chart: Roofline, width: int, height: int) -> str:
    """Return the SVG element; each point has its sentence in `data-tip` and can be focused."""
    frame = Frame(width, height, *limits(chart))
    opening = (
        f'<svg class="roofline" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="group" aria-label="{escape(chart.title)}">'
    )
    parts = [opening, *_axes(frame)]
    parts += _ceilings(frame, chart)
    series = chart.series
    parts += [_stem(frame, p.x, p.y, p.own_ceiling) for p in chart.points if p.own_ceiling]
    for point in chart.points:
        kind = series.index(point.series) % 8
        x = frame.x(point.x)
        look = f"point s{kind}" + (" hollow" if point.hollow else "")
        parts.append(
            f'<path class="{look}" d="{shape_path(kind, x, frame.y(point.y))}" tabindex="0" '
            f'role="img" aria-label="{escape(point.text)}" data-tip="{escape(point.text)}" '
            f'data-series="{escape(point.series)}"/>'
        )
    return "".join([*parts, "</svg>"])


def _stem(f: Frame, x: float, low: float, high: float) -> str:
    """Draw the way that is left from a point to its own ceiling."""
    at, top = f.x(x), f.y(high)
    return (
        f'<path class="stem" d="M{at:.1f} {f.y(low):.1f}V{top:.1f}'
        f'M{at - RADIUS:.1f} {top:.1f}h{2 * RADIUS}"/>'
    )


def _axes(f: Frame) -> list[str]:
    base, parts = f.height - BOTTOM, []
    for value in ticks(f.y_low, f.y_high, 6):
        y = f.y(value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{f.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{si(value, '')}</text>"
        )
    for value in ticks(f.x_low, f.x_high, 7 if f.width > 500 else 4):
        x = f.x(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{base}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{base + 17}" text-anchor="middle">{value:g}</text>'
        )
    middle = (LEFT + f.right) / 2
    parts.append(
        f'<text class="axis" x="{middle}" y="{f.height - 8}" text-anchor="middle">'
        "operations per byte</text>"
    )
    half = (TOP + base) / 2
    parts.append(
        f'<text class="axis" transform="translate(13 {half}) rotate(-90)" '
        'text-anchor="middle">operations/s</text>'
    )
    return parts


def _ceilings(f: Frame, chart: Roofline) -> list[str]:
    flat = [c for c in chart.ceilings if not c.sloped]
    sloped = [c for c in chart.ceilings if c.sloped]
    top = max((c.rate for c in flat), default=f.y_high)
    parts = []
    for c in flat:
        begin = max((c.rate / s.rate for s in sloped), default=f.x_low)
        y = f.y(c.rate)
        parts.append(
            f'<line class="ceiling" x1="{f.x(min(begin, f.x_high)):.1f}" '
            f'x2="{f.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text class="label" x="{f.width - RIGHT - 4}" y="{y - 6:.1f}" '
            f'text-anchor="end">{escape(c.label)}</text>'
        )
    for c in sloped:
        x1, x2 = max(f.x_low, f.y_low / c.rate), min(f.x_high, top / c.rate)
        if x2 <= x1:
            continue
        ends = (f.x(x1), f.y(x1 * c.rate), f.x(x2), f.y(x2 * c.rate))
        parts.append(
            '<line class="ceiling" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'.format(*ends)
        )
        at = math.sqrt(x1 * x2)
        px, py = f.x(at), f.y(at * c.rate)
        tilt = math.degrees(math.atan2(ends[3] - ends[1], ends[2] - ends[0]))
        parts.append(
            f'<text class="label" transform="translate({px:.1f} {py - 7:.1f}) '
            f'rotate({tilt:.1f})" text-anchor="middle">{escape(c.label)}</text>'
        )
    return parts


def shape_path(kind: int, x: float, y: float) -> str:
    """Give each series a shape beside its colour: circle, square, diamond, triangle up or down."""
    r = RADIUS
    corners = {
        1: [(-r, -r), (r, -r), (r, r), (-r, r)],
        2: [(0, -1.4 * r), (1.4 * r, 0), (0, 1.4 * r), (-1.4 * r, 0)],
        3: [(0, -1.2 * r), (1.2 * r, r), (-1.2 * r, r)],
        4: [(0, 1.2 * r), (1.2 * r, -r), (-1.2 * r, -r)],
    }.get(kind % 5)
    if corners is None:
        return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z"
    return "M" + "L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in corners) + "z"
