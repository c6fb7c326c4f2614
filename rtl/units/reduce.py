"""Combine what lanes hold over rows: the sums, maxima and winners of runs of elements.

A run (a group, an axis) is a number of neighbours in the span. Rows cut runs into pieces: piece j
of a row is combined in tree j; the first may go on from the row before, whose total is kept.

Glossary:
    piece  the elements of one run that one row takes, in neighbouring lanes
    tree   what combines piece j of every row
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyrtl

from cosim.ir.errors import UserError
from cosim.ir.types import smallest_type
from rtl.numerics import Int, bounded, select, stage_of
from rtl.pipe import Pipe
from rtl.units.rows import Walk
from rtl.units.store import choose, mux

# What is combined: one number, or a number and its index.
Entry = tuple[Int, ...]
Combine = Callable[[Entry, Entry], Entry]


@dataclass(frozen=True, eq=False)
class Pieces:
    """Hold how rows cut runs: arrays [rows, trees]; `run` is -1 where a row has no such piece.

    `start` is the first lane, `size` the lanes, `offset` the elements of the run before; `ends`
    tells that the run is complete with this row. `goes_on`: the first piece is not a run's first.
    """

    run: np.ndarray
    start: np.ndarray
    size: np.ndarray
    offset: np.ndarray
    ends: np.ndarray

    @property
    def goes_on(self) -> np.ndarray:
        """Return for each row whether its first piece goes on from the row before."""
        return np.asarray(self.offset[:, 0] > 0)

    @property
    def finished(self) -> np.ndarray:
        """Return [rows, trees]: the run that each piece completes, or -1."""
        return np.where(self.ends, self.run, -1)


def pieces_of(runs: np.ndarray, sizes: np.ndarray, task: str) -> Pieces:
    """Cut rows into pieces, from the run of each lane [rows, lanes] and each run's size.

    Raise UserError where a run is not stepped through in one go.
    """
    seen = np.zeros(sizes.size, np.int64)
    cut: list[list[tuple[int, int, int, int, bool]]] = []
    open_run = -1
    for own in runs:
        row = []
        edges = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), own.size]
        for start, stop in pairwise(edges):
            run = int(own[start])
            if run < 0:
                continue
            if seen[run] and run != open_run:
                raise UserError(
                    f"task {task}: run {run} of {sizes[run]} elements is stepped through in "
                    "several goes; choose an order that keeps it together"
                )
            row.append((run, start, stop - start, int(seen[run]), False))
            seen[run] += stop - start
            open_run = run
            if seen[run] == sizes[run]:
                row[-1] = (*row[-1][:4], True)
        cut.append(row)
    most = max(len(row) for row in cut)
    table = np.zeros((5, len(cut), most), np.int64)
    table[0] = -1
    for n, row in enumerate(cut):
        for k, piece in enumerate(row):
            table[:, n, k] = piece
    return Pieces(table[0], table[1], table[2], table[3], table[4] > 0)


@dataclass(frozen=True, eq=False)
class Reducer:
    """Say how entries are combined, in `levels` stages of a tree.

    `lift` makes an entry of a value and its number in the piece. `neutral` is a value that changes
    nothing, `kept` has the bounds of what is kept. `joined` combines what is left of the tree, one
    entry or two, with what is kept, if anything is, in one stage: the tree's last one where it is
    `early`, else one behind. `placed` counts an entry on from the start of its run.
    """

    lift: Callable[[Int, int], Entry]
    combine: Combine
    joined: Callable[[Sequence[Entry], Entry | None], Entry]
    neutral: Int
    kept: Sequence[tuple[int, int]]
    levels: int
    early: bool = False
    placed: Callable[[Entry, Int], Entry] | None = None


def reduced(
    walk: Walk, values: Sequence[Int], pieces: Pieces, how: Reducer, pipe: Pipe
) -> list[Entry]:
    """Return each tree's total, `levels` stages later, one more where it is not `early`."""
    stage = stage_of(*values)
    assert stage is not None
    at = stage + how.levels - (1 if how.early else 0)
    left: list[list[Entry]] = []
    for tree in range(pieces.run.shape[1]):
        level = _spread(walk, values, pieces, tree, how)
        for _ in range(at - stage):
            pairs = [level[n : n + 2] for n in range(0, len(level), 2)]
            level = [_cut(pipe, how.combine(*p) if len(p) == 2 else p[0]) for p in pairs]
        if how.placed is not None:
            there = pieces.run[:, tree] >= 0
            offset = walk.by_row(pieces.offset[:, tree], there, at)
            level = [how.placed(entry, offset) for entry in level]
        left.append(level)
    if not pieces.goes_on.any():
        return [_cut(pipe, how.joined(level, None)) for level in left]
    kept = [pyrtl.Register(smallest_type(lo, hi).bits) for lo, hi in how.kept]
    held = [Int(r, lo, hi, at) for r, (lo, hi) in zip(kept, how.kept, strict=True)]
    goes_on = walk.by_row(pieces.goes_on.astype(int), pieces.run[:, 0] >= 0, at)
    start = how.lift(how.neutral, 0)
    before = tuple(select(goes_on.wire, h, s) for h, s in zip(held, start, strict=True))
    totals = [how.joined(left[0], before), *(how.joined(level, None) for level in left[1:])]
    which = _last_piece(walk, pieces, at)
    # Rows that only load or emit have no piece: what is kept waits.
    has_piece = walk.by_row((pieces.run[:, 0] >= 0).astype(int), None, at)
    takes = walk.fire(at) if has_piece.lo == 1 else walk.fire(at) & has_piece.wire
    for k, (register, (lo, hi)) in enumerate(zip(kept, how.kept, strict=True)):
        ends = [bounded(t[k], lo, hi) for t in totals]
        total = ends[which.lo] if which.lo == which.hi else mux(which, ends[: which.hi + 1])
        register.next <<= pyrtl.select(takes, total.wire, register)
    return [_cut(pipe, t) for t in totals]


def _spread(
    walk: Walk, values: Sequence[Int], pieces: Pieces, tree: int, how: Reducer
) -> list[Entry]:
    """Bring the elements of a tree's pieces to it, and what is neutral where a piece is shorter."""
    stage = stage_of(*values)
    assert stage is not None
    there = pieces.run[:, tree] >= 0
    wide = int(pieces.size[:, tree].max())
    lane = pieces.start[:, tree, None] + np.arange(wide)
    used = there[:, None] & (np.arange(wide) < pieces.size[:, tree, None])
    keys = np.stack([lane, np.zeros_like(lane)], axis=-1)
    entries = []
    for n, value in enumerate(choose(walk, keys, used, stage, lambda k: values[k[0]])):
        if not np.array_equal(used[:, n], there):
            flag = walk.by_row(used[:, n].astype(int), there, stage)
            value = select(flag.wire, value, how.neutral)
        entries.append(how.lift(value, n))
    return entries


def _last_piece(walk: Walk, pieces: Pieces, stage: int) -> Int:
    """Return which piece is each row's last, where it goes on in the next row."""
    last = (pieces.run >= 0).sum(axis=1) - 1
    at = np.maximum(last, 0)
    done = np.take_along_axis(pieces.ends, at[:, None], axis=1)[:, 0]
    return walk.by_row(at, (last >= 0) & ~done, stage)


def _cut(pipe: Pipe, entry: Entry) -> Entry:
    return tuple(pipe.cut(x) for x in entry)
