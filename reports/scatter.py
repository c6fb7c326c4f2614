"""Describe points over two axes as data: which stand out, and the stairs that join those."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports.table import Origin

# From this ratio of largest to smallest on, an axis is logarithmic.
LOG_FROM = 5.0


@dataclass(frozen=True)
class Axis:
    """Hold one axis: what it shows, which way is better (None: neither), and its ends."""

    title: str
    better: Literal["more", "less"] | None
    low: float
    high: float
    is_log: bool

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[float]:
        """Return round values between the ends: at most about so many, and at least two.

        >>> Axis("x", "more", 0.0, 9.0, False).ticks(6), Axis("x", "more", 3.0, 70.0, True).ticks(6)
        ([0.0, 2.0, 4.0, 6.0, 8.0], [5.0, 10.0, 20.0, 50.0])
        """
        if not self.is_log:
            return _even(self.low, self.high, most)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            found = [float(f"{d}e{k}") for k in decades for d in digits]
            found = [v for v in found if self.low <= v <= self.high]
            if len(found) <= most:
                break
        every = max(1, math.ceil(len(found) / most))
        return found[::every]


@dataclass(frozen=True)
class Dot:
    """Place one point; `stands_out` where it is on the front."""

    series: str
    x: float
    y: float
    stands_out: bool
    text: str


@dataclass(frozen=True)
class Scatter:
    """Hold points, and the corners of the stairs that no point is beyond (none: no stairs).

    `joined`: the points of each series are on one line.
    """

    name: str
    title: str
    origin: Origin
    x: Axis
    y: Axis
    dots: tuple[Dot, ...]
    stairs: tuple[tuple[float, float], ...] = ()
    note: str = ""
    joined: bool = False

    @property
    def series(self) -> tuple[str, ...]:
        """Return the series in the order in which they first appear."""
        return tuple(dict.fromkeys(dot.series for dot in self.dots))

    def lines(self) -> dict[str, list[tuple[float, float]]]:
        """Return the points of each series from left to right; nothing where they are not joined.

        >>> Scatter("", "", "given", Axis("", None, 0, 1, False), Axis("", None, 0, 1, False),
        ...         (Dot("a", 2, 5, True, ""), Dot("a", 1, 4, True, "")), joined=True).lines()
        {'a': [(1, 4), (2, 5)]}
        """
        if not self.joined:
            return {}
        return {s: sorted((d.x, d.y) for d in self.dots if d.series == s) for s in self.series}


def axis_over(title: str, better: Literal["more", "less"], values: Sequence[float]) -> Axis:
    """Make an axis with some room around all values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0 and high / low >= LOG_FROM:
        room = (high / low) ** 0.05
        return Axis(title, better, low / room, high * room, True)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(title, better, low - room if low != 0 else 0.0, high + room, False)


def stairs_of(x: Axis, y: Axis, dots: Sequence[Dot]) -> tuple[tuple[float, float], ...]:
    """Return the corners of the line beyond which no point is, from the best x to the best y."""
    sign_x, sign_y = (1 if a.better == "less" else -1 for a in (x, y))
    best: list[tuple[float, float]] = []
    for dot in sorted(dots, key=lambda d: (sign_x * d.x, sign_y * d.y)):
        if not best or sign_y * dot.y < sign_y * best[-1][1]:
            best.append((dot.x, dot.y))
    corners: list[tuple[float, float]] = []
    for here in best:
        if corners:
            corners.append((here[0], corners[-1][1]))
        corners.append(here)
    return tuple(corners)


def _even(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * d for d in (1, 2, 5, 10) if power * d >= rough)
    first = math.ceil(low / step - 1e-9)
    # Counted in steps, so that 3 x 0.1 is not 0.30000000000000004.
    last = math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]
