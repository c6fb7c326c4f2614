"""Place loads, steps and emissions on rows, compiled by numba: the loops of `lay_rows`.

A search lays thousands of designs out, and each has rows of its own.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def rows_of_steps(needs: np.ndarray, steps: int) -> np.ndarray:
    """Return the row of each step; needs [FIFOs, steps]: beats to be popped with each step.

    A step pops one beat of each FIFO; where it needs more, rows that only load go before it.
    """
    row_of = np.empty(steps, np.int64)
    row = -1
    for step in range(steps):
        extra = 0
        for fifo in range(needs.shape[0]):
            before = needs[fifo, step - 1] if step else 0
            extra = max(extra, needs[fifo, step] - before - 1)
        row += extra + 1
        row_of[step] = row
    return row_of


@njit(cache=True)
def pops_of_rows(needs: np.ndarray, row_of: np.ndarray, total: int) -> np.ndarray:
    """Return in which rows each FIFO is popped, [FIFOs, total]: up to its step, one a row."""
    found = np.zeros((needs.shape[0], total), np.bool_)
    for fifo in range(needs.shape[0]):
        had = 0
        for step in range(row_of.size):
            need = needs[fifo, step]
            for late in range(need - had):
                found[fifo, row_of[step] - late] = True
            had = max(had, need)
    return found


@njit(cache=True)
def rows_of_beats(row_of: np.ndarray, steps: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Return the row in which each beat of a value leaves; -1: it goes nowhere.

    `steps`: with which step each beat is complete; flags [FIFOs, beats]: where it goes. Beats leave
    in order, one a row.
    """
    at = np.full(steps.size, -1, np.int64)
    row = -1
    for beat in range(steps.size):
        goes = False
        for fifo in range(flags.shape[0]):
            goes = goes or flags[fifo, beat]
        if goes:
            row = max(row + 1, row_of[steps[beat]])
            at[beat] = row
    return at


@njit(cache=True)
def pushes_of_rows(at: np.ndarray, flags: np.ndarray, total: int) -> np.ndarray:
    """Return in which rows each FIFO is pushed, [FIFOs, total]."""
    found = np.zeros((flags.shape[0], total), np.bool_)
    for fifo in range(flags.shape[0]):
        for beat in range(at.size):
            if flags[fifo, beat]:
                found[fifo, at[beat]] = True
    return found
