"""Scan a decaying state over time on the CPU, a block of its rows at a time.

Each row of the state [rows, N] is independent of all others, so that a block of rows stays in the
first cache over the whole window. Sums below 2^53 are exact in float64, in any order, which the
CPU vectorises better than 64-bit integers; scaling by 2^-F and the floor are exact there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosim.kernels.compiled import compiled
from cosim.kernels.scan_elements import element_scan, has_element_scan

FLOAT64_EXACT = 1 << 53
# Elements of a state scanned together: 2048 float64 are 16 KiB, half of a small first cache.
BLOCK_SIZE = 2048


@dataclass(frozen=True)
class RowMap:
    """Map each row of the state to the row of an operand that broadcasts against it."""

    index: np.ndarray
    width: int


def row_map(shape: tuple[int, ...], state_shape: tuple[int, ...]) -> RowMap:
    """Return the row map of an operand of `shape`; the last axis is not part of it.

    >>> row_map((2, 1, 5), (2, 3, 5)).index.tolist()
    [0, 0, 0, 1, 1, 1]
    """
    lead = shape[:-1]
    count = int(np.prod(lead, dtype=np.int64))
    index = np.broadcast_to(np.arange(count).reshape(lead), state_shape[:-1])
    return RowMap(np.ascontiguousarray(index.reshape(-1)), shape[-1])


@compiled
def scan_rows(
    h: np.ndarray,
    k: np.ndarray,
    u: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    gain: np.ndarray,
    steps: np.ndarray,
    widths: np.ndarray,
    maps: np.ndarray,
    decay_bits: int,
    lo: float,
    hi: float,
    y: np.ndarray,
    trace: np.ndarray,
) -> int:
    """Scan any recurrence row by row; return how many elements saturated.

    `h` [B, rows, N] float64 holds the first state and is overwritten by the last. k, u, b, c are
    flat integers, `steps` [4] apart from token to token; row r of the state reads their row
    `maps[., r]` of `widths[.]` elements, 1 or N. `gain` = 2^lift is flat float64, the fifth of
    maps and widths. `y` [B, T, rows] gets sum_n h c, `trace` [B, T, rows, N] the states; either may
    have no rows.
    """
    batch, rows, n = h.shape
    time = y.shape[1]
    down = 2.0**-decay_bits
    state, decay, drive, read = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    clipped = 0
    for job in range(batch * rows):
        i, r = job // rows, job % rows
        state[:] = h[i, r]
        g_row = gain[maps[4, r] * widths[4] : (maps[4, r] + 1) * widths[4]]
        for t in range(time):
            token = i * time + t
            k_at = token * steps[0] + maps[0, r] * widths[0]
            u_at = token * steps[1] + maps[1, r] * widths[1]
            b_at = token * steps[2] + maps[2, r] * widths[2]
            c_at = token * steps[3] + maps[3, r] * widths[3]
            # An operand of one element fills the row; assigning a longer one converts it.
            decay[:] = k[k_at : k_at + widths[0]]
            drive[:] = u[u_at : u_at + widths[1]]
            read[:] = b[b_at : b_at + widths[2]]
            for j in range(n):
                drive[j] *= read[j]
            read[:] = g_row
            for j in range(n):
                drive[j] *= read[j] * down
            read[:] = c[c_at : c_at + widths[3]]
            total = 0.0
            for j in range(n):
                raw = np.floor(state[j] * (1.0 - decay[j] * down) + (drive[j] + 0.5))
                kept = min(max(raw, lo), hi)
                clipped += kept != raw
                state[j] = kept
                total += kept * read[j]
            if y.shape[2] > 0:
                y[i, t, r] = np.int64(total)
            if trace.shape[2] > 0:
                for j in range(n):
                    trace[i, t, r, j] = np.int64(state[j])
        h[i, r] = state
    return clipped


@compiled
def scan_columns(
    h: np.ndarray,
    k: np.ndarray,
    u: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    gain: np.ndarray,
    steps: np.ndarray,
    maps: np.ndarray,
    block: int,
    decay_bits: int,
    lo: float,
    hi: float,
    y: np.ndarray,
    trace: np.ndarray,
) -> int:
    """Scan as `scan_rows` does where k, u and gain are one per row, and b and c N long.

    All rows of a block share the rows of b and c: the loop runs along the rows of one column of
    the state, so that the sum over N needs no reduction across the CPU's lanes.
    """
    batch, rows, n = h.shape
    time = y.shape[1]
    down = 2.0**-decay_bits
    decay, drive, total = np.empty(block), np.empty(block), np.empty(block)
    lift = np.empty(block)
    state = np.empty((n, block))
    clipped = 0
    for job in range(batch * (rows // block)):
        i, first = job // (rows // block), job % (rows // block) * block
        straight = True
        for r in range(block):
            straight &= maps[1, first + r] == maps[1, first] + r
            lift[r] = gain[maps[4, first + r]] * down
            for j in range(n):
                state[j, r] = h[i, first + r, j]
        for t in range(time):
            token = i * time + t
            k_at, u_at = token * steps[0], token * steps[1]
            for r in range(block):
                decay[r] = 1.0 - k[k_at + maps[0, first + r]] * down
            if straight:
                u_row = u[u_at + maps[1, first] : u_at + maps[1, first] + block]
                for r in range(block):
                    drive[r] = u_row[r] * lift[r]
            else:
                for r in range(block):
                    drive[r] = u[u_at + maps[1, first + r]] * lift[r]
            total[:] = 0.0
            b_at = token * steps[2] + maps[2, first] * n
            c_at = token * steps[3] + maps[3, first] * n
            for j in range(n):
                column = state[j]
                b_j, c_j = np.float64(b[b_at + j]), np.float64(c[c_at + j])
                for r in range(block):
                    raw = np.floor(column[r] * decay[r] + (drive[r] * b_j + 0.5))
                    kept = min(max(raw, lo), hi)
                    clipped += kept != raw
                    column[r] = kept
                    total[r] += kept * c_j
            if y.shape[2] > 0:
                for r in range(block):
                    y[i, t, first + r] = np.int64(total[r])
            if trace.shape[2] > 0:
                for r in range(block):
                    for j in range(n):
                        trace[i, t, first + r, j] = np.int64(state[j, r])
        for r in range(block):
            for j in range(n):
                h[i, first + r, j] = state[j, r]
    return clipped


def block_of(maps: np.ndarray, widths: np.ndarray, n: int) -> int:
    """Return how many rows `scan_columns` may take at once; 0 where it does not apply.

    >>> same, own = np.zeros(96, dtype=np.int64), np.arange(96)
    >>> block_of(np.stack([own, own, same, same, own]), np.array([1, 1, 32, 32, 1]), 32)
    48
    """
    if widths.tolist() != [1, 1, n, n, 1]:
        return 0
    rows = maps.shape[1]
    for block in range(min(rows, max(BLOCK_SIZE // n, 8)), 7, -1):
        shared = maps[2:4].reshape(2, -1, block) if rows % block == 0 else None
        if shared is not None and (shared == shared[:, :, :1]).all():
            return block
    return 0


def scan(
    h: np.ndarray,
    operands: Sequence[np.ndarray],
    gain: np.ndarray,
    steps: np.ndarray,
    widths: np.ndarray,
    maps: np.ndarray,
    decay_bits: int,
    lo: int,
    hi: int,
    block: int,
    y: np.ndarray,
    trace: np.ndarray,
) -> int:
    """Scan by the fastest kernel that applies; arguments and result are those of both.

    `block` comes from `block_of`.
    """
    ends = (decay_bits, float(lo), float(hi), y, trace)
    if block:
        return int(scan_columns(h, *operands, gain, steps, maps, block, *ends))
    n = h.shape[-1]
    if has_element_scan(widths.tolist(), n):
        return int(element_scan(n)(h, *operands, gain, steps, maps, *ends))
    return int(scan_rows(h, *operands, gain, steps, widths, maps, *ends))
