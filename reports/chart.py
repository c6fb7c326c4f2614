"""Describe a chart as data, once; `reports.svg` draws it for the page, `reports.figures` on paper.

A chart carries its origin as a table does, and its bars are either whole or made of parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cosim.ir.errors import InternalError
from reports.table import Origin


@dataclass(frozen=True)
class Part:
    """Be one coloured piece of a bar: what it is, how much, and the number in words."""

    label: str
    value: float
    text: str


@dataclass(frozen=True)
class Bar:
    """Be one bar: its name, its parts from left to right, and the total in words."""

    label: str
    parts: tuple[Part, ...]
    text: str

    @property
    def total(self) -> float:
        """Return the length of the whole bar."""
        return sum(p.value for p in self.parts)


@dataclass(frozen=True)
class Bars:
    """Hold bars that share one scale starting at zero."""

    name: str
    title: str
    origin: Origin
    bars: tuple[Bar, ...]
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a negative part: a bar that starts at zero cannot show it."""
        for bar in self.bars:
            for part in bar.parts:
                if not part.value >= 0:
                    raise InternalError(f"chart {self.name}: {bar.label} {part.label} {part.value}")

    @property
    def longest(self) -> float:
        """Return the length of the longest bar, or 1 where all are empty."""
        return max((bar.total for bar in self.bars), default=0.0) or 1.0

    @property
    def series(self) -> tuple[str, ...]:
        """Return the labels of all parts in the order in which they first appear."""
        return tuple(dict.fromkeys(part.label for bar in self.bars for part in bar.parts))


@dataclass(frozen=True)
class Point:
    """Place what works: x operations per byte, y operations/s; `hollow` if bytes are off chip.

    `own_ceiling`, where there is one, is the end of a stem above the point, in operations/s.
    """

    label: str
    series: str
    x: float
    y: float
    hollow: bool
    text: str
    own_ceiling: float | None = None


@dataclass(frozen=True)
class Ceiling:
    """Bound all points: `rate` operations/s where flat, bytes/s where `sloped`."""

    label: str
    rate: float
    sloped: bool


@dataclass(frozen=True)
class Roofline:
    """Hold points under ceilings, both axes logarithmic."""

    name: str
    title: str
    origin: Origin
    points: tuple[Point, ...]
    ceilings: tuple[Ceiling, ...]
    note: str = ""

    @property
    def series(self) -> tuple[str, ...]:
        """Return the series in the order in which they first appear."""
        return tuple(dict.fromkeys(point.series for point in self.points))


@dataclass(frozen=True)
class Span:
    """Hold one stretch of work on a track, in cycles, and the sentence that tells it."""

    track: str
    series: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Timeline:
    """Hold stretches of work side by side, one track per unit, from cycle 0."""

    name: str
    title: str
    origin: Origin
    spans: tuple[Span, ...]
    note: str = ""

    @property
    def tracks(self) -> tuple[str, ...]:
        """Return the tracks in the order in which they first work."""
        return tuple(dict.fromkeys(span.track for span in self.spans))

    @property
    def series(self) -> tuple[str, ...]:
        """Return the series in the order in which they first appear."""
        return tuple(dict.fromkeys(span.series for span in self.spans))

    @property
    def end(self) -> int:
        """Return the last cycle shown, at least 1."""
        return max((span.end for span in self.spans), default=1) or 1


def limits(chart: Roofline) -> tuple[float, float, float, float]:
    """Return (x low, x high, y low, y high) that hold all points and the ridge of the ceilings."""
    flat = [c.rate for c in chart.ceilings if not c.sloped]
    sloped = [c.rate for c in chart.ceilings if c.sloped]
    xs = [p.x for p in chart.points] + [f / s for f in flat for s in sloped]
    ys = [p.y for p in chart.points] + flat
    ys += [p.own_ceiling for p in chart.points if p.own_ceiling]
    x_low, x_high = _decades(xs)
    if x_high / x_low < 1000:  # a slope across a single decade looks flat
        x_low, x_high = x_low / 10, x_high * 10
    return (x_low, x_high, *_decades(ys))


def _decades(values: Iterable[float]) -> tuple[float, float]:
    kept = [v for v in values if v > 0] or [1.0]
    low, high = min(kept) / 1.5, max(kept) * 1.5
    return 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
