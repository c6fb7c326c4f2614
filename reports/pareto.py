"""Show a design space: every point that was tried, and the front that none of them beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cosim.ir.errors import InternalError
from reports.scatter import Dot, Scatter, axis_over, stairs_of
from reports.table import Cell, Column, Table, show

# A picture of more is a smear and a page of megabytes: of those that others beat, every n-th.
MOST_BEATEN = 400


@dataclass(frozen=True)
class Objective:
    """Name a column of figures, and which way is better."""

    key: str
    better: Literal["more", "less"]


@dataclass(frozen=True)
class DesignPoint:
    """Hold one point: its number, what it is (`choices`), its figures.

    `reason` says why it is out, `binds` what holds it up where it is not.
    """

    number: int
    choices: tuple[Cell, ...]
    figures: tuple[Cell, ...]
    reason: str
    binds: str
    on_front: bool


@dataclass(frozen=True)
class DesignSpace:
    """Hold all points of a study under the columns of their choices and figures.

    The first three choices are model, recipe and machine. `ties` counts the points of the front
    that share all objectives with another one there. `facts` are named texts, such as the study.
    """

    name: str
    version: str
    choices: tuple[Column, ...]
    figures: tuple[Column, ...]
    objectives: tuple[Objective, ...]
    points: tuple[DesignPoint, ...]
    ties: int
    facts: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse objectives that are no figures."""
        keys = [c.key for c in self.figures]
        for objective in self.objectives:
            if objective.key not in keys:
                raise InternalError(f"objective {objective.key!r} is not among {keys}")

    @property
    def front(self) -> tuple[DesignPoint, ...]:
        """Return the points of the front, the best in the first objective first."""
        first = self.objectives[0]
        sign = 1 if first.better == "less" else -1
        return tuple(
            sorted(
                (p for p in self.points if p.on_front),
                key=lambda p: (sign * self.value(p, first.key), p.number),
            )
        )

    def value(self, point: DesignPoint, key: str) -> float:
        """Return a figure of a point that has it."""
        found = point.figures[[c.key for c in self.figures].index(key)]
        if not isinstance(found, int | float):
            raise InternalError(f"point {point.number} has no {key}")
        return found

    def column(self, key: str) -> Column:
        """Return the column of a figure."""
        return next(c for c in self.figures if c.key == key)


def points_table(space: DesignSpace) -> Table:
    """Return all points, in the order in which they were chosen."""
    columns = (
        Column("point", "point", "given"),
        *space.choices,
        *space.figures,
        Column("front", "on the front"),
        Column("reason", "why it is out"),
        Column("binds", "what binds"),
    )
    rows = tuple(
        (p.number, *p.choices, *p.figures, "yes" if p.on_front else "no", p.reason, p.binds)
        for p in space.points
    )
    return Table("points", "All points", columns, rows)


def front_table(space: DesignSpace) -> Table:
    """Return the front: what all points share is left out, and stands in the note."""
    front = space.front
    varied = [i for i in range(len(space.choices)) if len({p.choices[i] for p in space.points}) > 1]
    rows = tuple((p.number, *(p.choices[i] for i in varied), *p.figures, p.binds) for p in front)
    columns = (
        Column("point", "point", "given"),
        *(space.choices[i] for i in varied),
        *space.figures,
        Column("binds", "what binds"),
    )
    shared = ", ".join(
        f"{c.title} {show(space.points[0].choices[i], c)}"
        for i, c in enumerate(space.choices)
        if i not in varied and space.points
    )
    note = f"All points share {shared}. " if shared else ""
    return Table("front", f"Pareto front over {_goals(space)}", columns, rows, note + _tied(space))


def counts_table(space: DesignSpace) -> Table:
    """Return how many points there are, fit, and are on the front."""
    out = sum(bool(p.reason) for p in space.points)
    columns = (
        Column("points", "points", "derived"),
        Column("fit", "fit", "derived"),
        Column("out", "do not", "derived"),
        Column("front", "on the front", "derived"),
    )
    row = (len(space.points), len(space.points) - out, out, len(space.front))
    return Table("counts", f"Points of {space.name}", columns, (row,))


def reasons_table(space: DesignSpace) -> Table:
    """Return why points are out, numbers left aside, the most frequent reason first."""
    counts: dict[str, int] = {}
    for point in space.points:
        if point.reason:
            # Reasons that differ in their numbers alone are one.
            words = " ".join("…" if w[:1].isdigit() else w for w in point.reason.split())
            counts[words] = counts.get(words, 0) + 1
    columns = (Column("reason", "why points are out"), Column("points", "points", "derived"))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Table("reasons", "Points that are out", columns, tuple(ranked))


def charts(space: DesignSpace) -> tuple[Scatter, ...]:
    """Return a picture of each objective but the first against the first.

    One objective alone has none; neither have points of which none fits.
    """
    fits = [p for p in space.points if not p.reason]
    if not fits:
        return ()
    return tuple(_chart(space, fits, other) for other in space.objectives[1:])


def _chart(space: DesignSpace, fits: Sequence[DesignPoint], other: Objective) -> Scatter:
    first = space.objectives[0]
    beaten = [p for p in fits if not p.on_front]
    every = -(-len(beaten) // MOST_BEATEN) or 1
    drawn = [*space.front, *beaten[::every]]
    dots = tuple(_dot(space, p, first.key, other.key) for p in drawn)
    x_column, y_column = space.column(first.key), space.column(other.key)
    x = axis_over(x_column.title, first.better, [d.x for d in dots])
    y = axis_over(y_column.title, other.better, [d.y for d in dots])
    # Over three objectives and more, a point of the front may lie behind the stairs.
    stairs = stairs_of(x, y, [d for d in dots if d.stands_out])
    notes = ["Full points are on the front; hollow ones are beaten by another point."]
    if len(space.objectives) > 2:
        notes.append(f"The front is over {_goals(space)}; the line is that of these two alone.")
    if every > 1:
        notes.append(f"Of {len(beaten):,} beaten points, each {every}th is drawn.")
    return Scatter(
        f"pareto-{first.key}-{other.key}",
        f"{y_column.title} against {x_column.title}",
        x_column.origin or "modelled",
        x,
        y,
        dots,
        stairs,
        " ".join(notes),
    )


def _dot(space: DesignSpace, point: DesignPoint, x: str, y: str) -> Dot:
    series = [str(c) for c in point.choices[:3]]
    differ = [i for i in range(3) if len({p.choices[i] for p in space.points}) > 1]
    said = [
        f"{column.title} {show(cell, column)}"
        for column, cell in zip(space.choices, point.choices, strict=True)
    ]
    told = [f"{c.title} {show(space.value(point, c.key), c)}" for c in map(space.column, (x, y))]
    return Dot(
        " ".join(series[i] for i in differ) or series[0],
        space.value(point, x),
        space.value(point, y),
        point.on_front,
        f"point {point.number}: {', '.join(said)}; {', '.join(told)}",
    )


def _goals(space: DesignSpace) -> str:
    return ", ".join(f"{space.column(o.key).title} ({o.better})" for o in space.objectives)


def _tied(space: DesignSpace) -> str:
    if not space.ties:
        return "No two points of the front have the same objectives."
    return f"{space.ties} of the front have the same objectives as another one there; all are kept."
