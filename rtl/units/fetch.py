"""Bring elements to lanes: what each step needs of the beats popped in this row and before it.

The beats of a FIFO are kept in a chain of registers, the latest first, as many as a later step
looks back. A lane that finds its element in the same place in all steps is wires only; else it
chooses among the places that occur, by a small table indexed by job and step. A lane that has no
element in some step is 0 there.

All of it is at stage 0: the firing in which a beat is popped may use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyrtl

from cosim.design.plan import Fifo
from cosim.design.rows import Flow, Rows
from cosim.design.streams import TaskStream
from cosim.ir.errors import InternalError
from cosim.ir.types import TensorType
from rtl.numerics import Int, Wire, bounded, constant, of_bits
from rtl.units.shell import Control

# Where an element is: FIFO, how many beats back from the beat popped now, place in the beat.
Spot = tuple[str, int, int]


@dataclass(frozen=True, eq=False)
class Need:
    """Say what a job needs in each step: elements [steps, lanes] of an operand, -1: none.

    `rows` are those of the first pass, in which the beats come in.
    """

    flow: Flow
    operand: str
    elements: np.ndarray
    rows: Rows
    type: TensorType

    def spots(self) -> list[list[Spot | None]]:
        """Return for each step and lane where the element is; None: no element."""
        flow, view = self.flow, self.flow.skeleton.views[self.operand]
        steps, width = self.elements.shape
        found: list[list[Spot | None]] = [[None] * width for _ in range(steps)]
        at_row = np.flatnonzero(self.rows.is_step)
        for fifo in flow.into:
            if fifo.value not in view.roots:
                continue
            beat, place = self._places(fifo)
            popped = np.cumsum(self.rows.pops[fifo.name])[at_row]
            now = self.rows.pops[fifo.name][at_row]
            for s, k in zip(*np.nonzero(self.elements >= 0), strict=True):
                e = self.elements[s, k]
                if beat[e] < 0:
                    continue
                back = int(popped[s] - 1 - beat[e]) + (not now[s])
                if back < (not now[s]):
                    raise InternalError(f"{flow.task.name}: step {s} comes before its beat")
                found[s][k] = (fifo.name, back, int(place[e]))
        return found

    def _places(self, fifo: Fifo) -> tuple[np.ndarray, np.ndarray]:
        """Return for each element of the operand its beat among those carried, and its place.

        A beat of -1: the element is of another FIFO.
        """
        skeleton = self.flow.skeleton
        view, root = skeleton.views[self.operand], fifo.value
        size = skeleton.sketch.types[self.operand].size
        element = np.arange(size) if view.element is None else view.element
        if view.root is not None:
            element = np.where(view.root == view.roots.index(root), element, -1)
        emitted = TaskStream.of(skeleton, skeleton.task(fifo.maker)).emission(root)
        order = np.empty(emitted.size + 1, np.int64)
        order[emitted] = np.arange(emitted.size)
        order[-1] = -1
        place = order[element]
        number = np.append(np.cumsum(self.flow.passage(fifo).carried(fifo.beat)) - 1, -1)
        return np.where(place >= 0, number[place // fifo.beat], -1), place % fifo.beat


class Fetch:
    """Keep the beats of a unit's FIFOs as long as they are needed."""

    def __init__(self, control: Control, beats: Mapping[str, Wire], job: Wire, step: Wire) -> None:
        """Look at the beats; `job` and `step` number what the firing does, at stage 0."""
        self.control, self.beats, self.job, self.step = control, beats, job, step
        self.kept: dict[str, list[Wire]] = {name: [beat] for name, beat in beats.items()}
        self._tables: dict[tuple[int, ...], Wire] = {}

    def lanes(self, needs: Sequence[Need | None]) -> list[Int]:
        """Return one operand of all jobs, one value a lane; None: that job has none.

        The lanes have bounds that hold in all jobs, and 0 among them where some step has none.
        """
        every = [n.spots() if n is not None else [] for n in needs]
        types = [n.type for n in needs if n is not None]
        width = max(n.elements.shape[1] for n in needs if n is not None)
        lo, hi = min(t.lo for t in types), max(t.hi for t in types)
        return [self._lane(k, every, needs, lo, hi) for k in range(width)]

    def look_up(self, values: Sequence[Sequence[int]]) -> Wire:
        """Return a number that depends on job and step: values[job][step]."""
        steps_bits = len(self.step)
        flat = [0] * (len(values) << steps_bits)
        for j, own in enumerate(values):
            flat[j << steps_bits : (j << steps_bits) + len(own)] = own
        known = tuple(flat)
        if known not in self._tables:
            self._tables[known] = table(pyrtl.concat(self.job, self.step), flat)
        return self._tables[known]

    def _lane(
        self,
        lane: int,
        every: Sequence[list[list[Spot | None]]],
        needs: Sequence[Need | None],
        lo: int,
        hi: int,
    ) -> Int:
        choices: dict[tuple[int, Spot] | None, int] = {}
        values: list[list[int]] = []
        for j, steps in enumerate(every):
            own = []
            for spots in steps:
                spot = spots[lane] if lane < len(spots) else None
                key = None if spot is None else (j, spot)
                own.append(choices.setdefault(key, len(choices)))
            values.append(own)
        if None in choices:
            lo, hi = min(lo, 0), max(hi, 0)
        options = []
        for key in choices:
            if key is None:
                options.append(constant(0))
                continue
            need = needs[key[0]]
            assert need is not None
            options.append(of_bits(self._spot(key[1], need.type.dtype.bits), need.type))
        wires = [bounded(x, lo, hi).wire for x in options]
        return Int(choose(self.look_up(values) if len(wires) > 1 else None, wires), lo, hi, 0)

    def _spot(self, spot: Spot, bits: int) -> Wire:
        fifo, back, place = spot
        chain = self.kept[fifo]
        while len(chain) <= back:
            kept = pyrtl.Register(len(chain[0]))
            kept.next <<= pyrtl.select(self.control.pops[fifo], chain[-1], kept)
            chain.append(kept)
        return chain[back][place * bits : (place + 1) * bits]


def table(index: Wire, values: Sequence[int]) -> Wire:
    """Return the value at an index: a constant where all are alike, else a small table."""
    bits = max(1, max(values).bit_length())
    if all(v == values[0] for v in values):
        return pyrtl.Const(values[0], bits)
    rom = pyrtl.RomBlock(
        bits, len(index), list(values), "choice", asynchronous=True, pad_with_zeros=True
    )
    out = pyrtl.WireVector(bits)
    out <<= rom[index]
    return out


def choose(index: Wire | None, options: Sequence[Wire]) -> Wire:
    """Choose an option by its number; numbers that no option has give any of them."""
    level, bit = list(options), 0
    while len(level) > 1:
        assert index is not None
        flag = index[bit]
        pairs = [pyrtl.select(flag, b, a) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
        bit += 1
    return level[0]


def places_of(span: int, lanes: int) -> np.ndarray:
    """Return which elements of a span each step takes: [steps, lanes], -1 behind the last.

    >>> places_of(5, 3).tolist()
    [[0, 1, 2], [3, 4, -1]]
    """
    steps = -(-span // lanes)
    at = np.arange(steps * lanes)
    return np.where(at < span, at, -1).reshape(steps, lanes)
