"""Lay out all points of a study in a fixed order, and give each a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from cosim.ir.errors import UserError
from cosim.sweep.knobs import Value
from cosim.sweep.study import MOST_POINTS, Study


@dataclass(frozen=True)
class Point:
    """Name one thing to try: a model by a recipe on a machine, and its knobs in the study's order.

    A knob that the study does not list is as the default design has it.
    """

    model: str
    recipe: str
    machine: str
    knobs: tuple[tuple[str, Value], ...]

    def text(self) -> str:
        """Print in one line."""
        knobs = "".join(f", {name} {value}" for name, value in self.knobs)
        return f"{self.model} {self.recipe} on {self.machine}{knobs}"


@dataclass(frozen=True)
class Space:
    """Hold the axes of a study: name and values, the last one runs fastest."""

    axes: tuple[tuple[str, tuple[Value, ...]], ...]

    @property
    def size(self) -> int:
        """Return the number of points."""
        return prod(len(values) for _, values in self.axes)

    def point(self, number: int) -> Point:
        """Return a point by its number, 0 to size - 1."""
        picks = []
        for _, values in reversed(self.axes):
            number, digit = divmod(number, len(values))
            picks.append(digit)
        return self.pick(picks[::-1])

    def pick(self, digits: list[int]) -> Point:
        """Return the point that takes the value of this place on each axis."""
        chosen = [
            (name, values[digit]) for (name, values), digit in zip(self.axes, digits, strict=True)
        ]
        (_, model), (_, recipe), (_, machine), *knobs = chosen
        return Point(str(model), str(recipe), str(machine), tuple(knobs))


def space_of(study: Study) -> Space:
    """Return the space of a study: models, recipes, machines, then its knobs."""
    return Space(
        (
            ("model", study.models),
            ("recipe", study.recipes),
            ("machine", study.machines),
            *study.knobs.items(),
        )
    )


def grid(space: Space) -> Iterator[Point]:
    """Yield all points in order; raise UserError where they are too many to try."""
    if space.size > MOST_POINTS:
        raise UserError(
            f"the grid has {space.size:,} points and {MOST_POINTS:,} are the most; list fewer "
            "values, or let `search: {method: random, points: ...}` choose"
        )
    return (space.point(number) for number in range(space.size))


def at_random(space: Space, points: int, seed: int) -> Iterator[Point]:
    """Yield so many different points by chance, all there are if they are fewer."""
    rng = np.random.default_rng(seed)
    if space.size <= max(MOST_POINTS, 2 * points):
        order = rng.permutation(space.size)[:points]
        yield from (space.point(int(number)) for number in order)
        return
    seen: set[int] = set()
    while len(seen) < points:
        # Axes one by one: the size may be past 64 bits.
        digits = [int(rng.integers(len(values))) for _, values in space.axes]
        number = 0
        for digit, (_, values) in zip(digits, space.axes, strict=True):
            number = number * len(values) + digit
        if number not in seen:
            seen.add(number)
            yield space.pick(digits)
