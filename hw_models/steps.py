"""Write the rows of a task as firings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from cosim.design.rows import Rows
from cosim.ir.errors import InternalError
from hw_models.network import NOTHING, ONE, Firing, Program
from hw_models.runs import coded_runs

MOST_FIFOS = 60
SMALL_CODE = 1 << 8


@dataclass(frozen=True)
class Draws:
    """Say which steps of a task also take a beat of a FIFO at the memory."""

    fifo: str
    steps: np.ndarray


def taking(rows: Rows, draws: Draws | None) -> Rows:
    """Return rows whose steps take what they draw too; None: nothing.

    >>> own = Rows({}, {}, np.array([False, True, True]))
    >>> taking(own, Draws("constants", np.array([False, True]))).pops["constants"].tolist()
    [False, False, True]
    """
    if draws is None:
        return rows
    flags = np.zeros(rows.is_step.size, bool)
    flags[rows.is_step] = draws.steps
    return replace(rows, pops={**rows.pops, draws.fifo: flags})


def numbered(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different codes in order, and the place of each code among them.

    >>> [found.tolist() for found in numbered(np.array([5, 0, 5, 9]))]
    [[0, 5, 9], [1, 0, 1, 2]]
    """
    if codes.size == 0 or int(codes.max()) >= SMALL_CODE:
        values, index = np.unique(codes, return_inverse=True)
        return values, index.astype(np.int64).reshape(-1)
    # Few codes are possible: marking them costs a fraction of sorting.
    there = np.zeros(SMALL_CODE, np.int64)
    there[codes] = 1
    return np.flatnonzero(there), (np.cumsum(there) - 1)[codes]


def encode(rows: Rows, latency: int, task: str, last_cycles: int = 1) -> Program:
    """Write rows as a program; the last row holds the unit for `last_cycles`."""
    total = rows.is_step.size
    if total == 0:
        return NOTHING
    pops, pushes = list(rows.pops), list(rows.pushes)
    if len(pops) + len(pushes) >= MOST_FIFOS:
        raise InternalError(f"task {task!r} has {len(pops) + len(pushes)} FIFOs, too many")
    flags = np.array([*rows.pops.values(), *rows.pushes.values()], np.bool_)
    values, index, times = coded_runs(flags.reshape(-1, total), last_cycles > 1)
    kinds = tuple(
        Firing(
            tuple(f for b, f in enumerate(pops) if value >> b & 1),
            tuple(f for b, f in enumerate(pushes, len(pops)) if value >> b & 1),
            latency,
            Fraction(last_cycles) if value >> len(flags) else ONE,
            task,
        )
        for value in values.tolist()
    )
    return Program(kinds, index, times)
