"""Draw a timeline as inline SVG: a track per unit, colours from the style sheet, by class."""

from __future__ import annotations

from html import escape

from reports.chart import Timeline
from reports.table import si

TRACK_PX, GAP_PX, BOTTOM_PX, RIGHT_PX = 16, 6, 40, 16
CHARACTER_PX = 6.6  # of the tick labels' 12 px type, on average
MOST_LABEL_PX = 190.0
LEAST_PX = 0.75  # of a stretch, so that it is seen


def timeline_svg(chart: Timeline, width: int) -> str:
    """Return the SVG element; each stretch has its sentence in `data-tip`."""
    tracks, series = chart.tracks, chart.series
    left = min(MOST_LABEL_PX, 12 + CHARACTER_PX * max(map(len, tracks), default=0), width / 3)
    base = (TRACK_PX + GAP_PX) * len(tracks) + GAP_PX
    height = base + BOTTOM_PX
    scale = (width - left - RIGHT_PX) / chart.end
    opening = (
        f'<svg class="timeline" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="group" aria-label="{escape(chart.title)}">'
    )
    parts = [opening]
    for cycle in even_ticks(chart.end, 8 if width > 500 else 4):
        x = left + cycle * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{base}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{base + 16}" text-anchor="middle">'
            f"{si(cycle, '')}</text>"
        )
    most = max(1, int((left - 12) / CHARACTER_PX))
    for row, track in enumerate(tracks):
        y = GAP_PX + row * (TRACK_PX + GAP_PX)
        label = track if len(track) <= most else track[: most - 1] + "…"
        parts.append(
            f'<text class="tick" x="{left - 8:.1f}" y="{y + 12}" text-anchor="end">'
            f"{escape(label)}</text>"
        )
    for span in chart.spans:
        y = GAP_PX + tracks.index(span.track) * (TRACK_PX + GAP_PX)
        wide = max((span.end - span.start) * scale, LEAST_PX)
        parts.append(
            f'<rect class="s{series.index(span.series) % 8}" x="{left + span.start * scale:.2f}" '
            f'y="{y}" width="{wide:.2f}" height="{TRACK_PX}" data-tip="{escape(span.text)}" '
            f'data-series="{escape(span.series)}"/>'
        )
    parts.append(
        f'<text class="axis" x="{(left + width) / 2:.1f}" y="{height - 6}" text-anchor="middle">'
        "cycles</text></svg>"
    )
    return "".join(parts)


def even_ticks(end: int, most: int) -> list[int]:
    """Return round cycles from 0 to end, at most about so many.

    >>> even_ticks(1108, 6), even_ticks(3, 8)
    ([0, 200, 400, 600, 800, 1000], [0, 1, 2, 3])
    """
    step = 1
    while end // step + 1 > most:
        # 1, 2, 5, 10, 20, 50 ...
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return list(range(0, end + 1, step))
