"""Write firings as runs of one kind each, as few as there can be, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def burst_runs(
    index: np.ndarray, times: np.ndarray, burst: int, over: int, under: int, free: int
) -> np.ndarray:
    """Return the kind, the interval and the length of each run of paced firings, [3, runs].

    `index`, `times`: the runs of a program. Bursts start as `cosim.machine.service.beat_cycle`
    says; within one a firing follows each cycle, its last one holds the port until the next burst,
    or, at the end, until cycle `free`.
    """
    count = times.sum()
    bursts = -(-count // burst)
    found = np.empty((3, times.size + 2 * bursts), np.int64)
    runs, run, left = 0, 0, times[0]
    for b in range(bursts):
        start = -(-b * burst * over // under)
        size = min(burst, count - b * burst)
        resumes = free if b == bursts - 1 else -(-(b + 1) * burst * over // under)
        last_gap = resumes - start - (size - 1)
        while size > 0:
            if left == 0:
                run += 1
                left = times[run]
            # All but a burst's last firing, then that.
            gap = last_gap if size == 1 else 1
            length = min(left, size - 1) if gap == 1 and size > 1 else 1
            if runs and found[0, runs - 1] == index[run] and found[1, runs - 1] == gap:
                found[2, runs - 1] += length
            else:
                found[0, runs], found[1, runs], found[2, runs] = index[run], gap, length
                runs += 1
            size -= length
            left -= length
    return found[:, :runs].copy()


@njit(cache=True)
def pairs_of(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different pairs of two arrays as they come, [2, n], and each place's pair."""
    pairs = np.empty((2, 8), np.int64)
    number = np.empty(first.size, np.int64)
    known = 0
    for i in range(first.size):
        at = known - 1
        while at >= 0 and not (pairs[0, at] == first[i] and pairs[1, at] == second[i]):
            at -= 1
        if at < 0:
            if known == pairs.shape[1]:
                wider = np.empty((2, 2 * known), np.int64)
                wider[:, :known] = pairs
                pairs = wider
            at = known
            pairs[0, at], pairs[1, at] = first[i], second[i]
            known += 1
        number[i] = at
    return pairs[:, :known].copy(), number


@njit(cache=True)
def coded_runs(flags: np.ndarray, last_differs: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write rows of flags [n, rows] as runs: the different codes, each run's among them, its rows.

    Bit k of a row's code is flags[k]; bit n is set in the last row where `last_differs`. Codes are
    in rising order.
    """
    count, total = flags.shape
    found = np.empty((2, total), np.int64)
    codes = np.zeros(total, np.int64)
    for k in range(count):
        for row in range(total):
            codes[row] |= np.int64(flags[k, row]) << k
    if last_differs:
        codes[total - 1] |= np.int64(1) << count
    known, runs, before = np.empty(total, np.int64), 0, np.int64(-1)
    size = 0
    for code in codes:
        if runs and code == before:
            found[1, runs - 1] += 1
            continue
        at = 0
        while at < size and known[at] != code:
            at += 1
        if at == size:
            known[size] = code
            size += 1
        found[0, runs], found[1, runs] = at, 1
        runs += 1
        before = code
    order = np.argsort(known[:size])
    place = np.empty(size, np.int64)
    place[order] = np.arange(size)
    return known[:size][order], place[found[0, :runs]], found[1, :runs].copy()
