"""Hold the parts of a design: units, tasks in static order, FIFOs, shares of the memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cosim.design.kinds import KINDS, Kind
from cosim.design.sketch import Part
from cosim.ir.errors import UserError

Place = Literal["chip", "memory"]
# The FIFOs between the ports of the memory and a state unit, and a FIR unit.
STATE_FIFOS = ("state.in", "state.out")
WINDOW_FIFOS = ("window.in", "window.out")
# What may live off chip: those that every choice of places names, and those that it may leave out.
MAIN_PLACES = ("weights", "states", "embedding")
PLACES = (*MAIN_PLACES, "constants", "windows", "sequences")
Runs = tuple[tuple[int, int], ...]
MOST_LANES = 1 << 16
# Places between a buffer of weights that are used again and its matrix unit: the buffer's stages,
# the credit's way back, and as many to spare.
HANDED_BEATS = 8


@dataclass(frozen=True)
class Unit:
    """Describe a hardware unit: `lanes` elements a beat.

    A matrix unit makes `lanes` rows at a time from `columns` inputs a cycle.
    """

    name: str
    kind: Kind
    lanes: int
    columns: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.kind not in KINDS:
            raise UserError(f"unit {self.name}: kind {self.kind!r}; choose one of {KINDS}")
        for what, value in (("lanes", self.lanes), ("columns", self.columns)):
            if not 1 <= value <= MOST_LANES:
                raise UserError(f"unit {self.name}: {what} {value} must be 1 to {MOST_LANES}")
        if self.columns != 1 and self.kind != "matrix":
            raise UserError(f"unit {self.name}: only a matrix unit has columns")


def constants_of(unit: str) -> str:
    """Return the name of the FIFO that brings a unit the constants of a layer, from off chip.

    >>> constants_of("fir")
    'constants.fir'
    """
    return f"constants.{unit}"


def weights_of(unit: Unit) -> str:
    """Return the name of the FIFO that brings a unit its weights.

    >>> weights_of(Unit("matrix", "matrix", 8, 8)), weights_of(Unit("matrix.out", "matrix", 8, 8))
    ('weights', 'weights.out')
    """
    return unit.name.replace("matrix", "weights", 1)


@dataclass(frozen=True)
class Task:
    """Say what a unit does once per turn of its part: the nodes it carries, `span` elements.

    `order` lists runs (start, stop) of span elements in the order in which they are stepped
    through; a matrix unit steps through its rows.
    """

    name: str
    unit: str
    part: Part
    nodes: tuple[str, ...]
    span: int
    order: Runs

    def __hash__(self) -> int:
        """Hash quickly: names tell most tasks apart, and orders are long."""
        return hash((self.name, self.unit, self.part, self.span))

    def __post_init__(self) -> None:
        """Check that the order is one of all span elements."""
        at = 0
        for start, stop in sorted(self.order):
            if start != at or stop <= start:
                raise UserError(f"task {self.name}: order {self.order} is not one of {self.span}")
            at = stop
        if at != self.span:
            raise UserError(f"task {self.name}: order {self.order} is not one of {self.span}")


@dataclass(frozen=True)
class Fifo:
    """Join two tasks: `value` (a root of the sketch) goes from maker to taker in beats.

    Where layers are not alike, each has tasks of its own. Between the same two units they then
    share one FIFO, whose name is `shared`; empty: this one is on its own.
    `near`: its `depth` places are off chip, and so many beats stand on chip at either end; 0: all
    of it is on chip.
    """

    name: str
    maker: str
    taker: str
    value: str
    beat: int
    width_bits: int
    depth: int
    shared: str = ""
    near: int = 0

    @property
    def places_on_chip(self) -> int:
        """Return the deepest memory that it has on chip."""
        return self.near or self.depth

    @property
    def channel(self) -> str:
        """Return the name of the FIFO in hardware."""
        return self.shared or self.name

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for what, size in (("beat", self.beat), ("width", self.width_bits), ("depth", self.depth)):
            if size < 1:
                raise UserError(f"FIFO {self.name}: {what} {size} must be at least 1")


@dataclass(frozen=True)
class Layout:
    """Hold what serves one kind of step graph: its segments, tasks in static order, and FIFOs.

    A unit does its tasks in the order in which they stand here: those before the layers, then
    those of the block `layers` times, then those after. `per_token` tells that the block is done
    once a token instead (a graph without layers). `sequences` are the sources and sinks whose
    values are kept over a window, between segments.
    """

    name: str
    segments: tuple[str, ...]
    layers: int
    tasks: tuple[Task, ...]
    fifos: tuple[Fifo, ...]
    sequences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that names are unique and that FIFOs join tasks that are there."""
        names = [t.name for t in self.tasks]
        fifos = [f.name for f in self.fifos]
        for what, listed in (("task", names), ("FIFO", fifos)):
            if len(set(listed)) < len(listed):
                twice = sorted({n for n in listed if listed.count(n) > 1})
                raise UserError(f"layout {self.name}: {what} {twice[0]!r} is there twice")
        for fifo in self.fifos:
            for end in (fifo.maker, fifo.taker):
                if end not in names:
                    raise UserError(
                        f"layout {self.name}: FIFO {fifo.name!r} joins {end!r}, which is no task"
                    )

    @cached_property
    def by_name(self) -> Mapping[str, Task]:
        """Return the tasks by name."""
        return {t.name: t for t in self.tasks}

    def task(self, name: str) -> Task:
        """Return a task by name."""
        return self.by_name[name]


@dataclass(frozen=True)
class Ports:
    """Share the off-chip memory out: exact shares of its bandwidth, in parts of `parts`.

    `prefetch_beats` is the depth of the FIFO between the memory and the matrix unit. `others` are
    the parts of what else lives off chip, by name, all its reads and writes together: constants of
    layers, windows, sequences, and FIFOs that are spilt.
    """

    memory: str
    parts: int
    weight_parts: int
    state_parts: int
    prefetch_beats: int
    others: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        """Check that no more is shared out than there is."""
        rest = sum(parts for _, parts in self.others)
        used = self.weight_parts + 2 * self.state_parts + rest
        if self.weight_parts < 0 or self.state_parts < 0 or used > self.parts:
            more = f" + {rest}" if rest else ""
            raise UserError(
                f"ports of {self.memory}: {self.weight_parts} + 2 x {self.state_parts}{more} parts "
                f"are more than {self.parts}; share out less"
            )
