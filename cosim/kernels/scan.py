"""Scan a decaying state over time on the CPU, one row of the state at a time, compiled by numba.

Each row of the state [rows, N] is independent of all others, so that rows run in parallel and a
row's state stays in cache over the whole window. Sums below 2^53 are exact in float64, which the
CPU vectorises better than 64-bit integers; scaling by 2^-F and the floor are exact there too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

FLOAT64_EXACT = 1 << 53


@dataclass(frozen=True)
class Rows:
    """Map each row of the state to the row of an operand that broadcasts against it."""

    index: np.ndarray
    count: int


def row_map(shape: tuple[int, ...], state_shape: tuple[int, ...]) -> Rows:
    """Return the row map of an operand of `shape`; the last axis is not part of it.

    >>> row_map((2, 1, 5), (2, 3, 5)).index.tolist()
    [0, 0, 0, 1, 1, 1]
    """
    lead = shape[:-1]
    count = int(np.prod(lead, dtype=np.int64))
    index = np.broadcast_to(np.arange(count).reshape(lead), state_shape[:-1])
    return Rows(np.ascontiguousarray(index.reshape(-1)), count)


@njit(cache=True, parallel=True)
def scan_float(  # type: ignore[no-untyped-def]  # numba compiles by the argument types
    h, k, u, b, c, lift, maps, decay_bits, lo, hi, keep
):
    """Scan in float64; return y [B, T, rows], states [B, T or 0, rows, N], clipped counts.

    `h` [B, rows, N] holds the first state and is overwritten by the last. k, u, b, c and lift are
    float64 [B, T, their rows, 1 or N] (lift: [its rows, 1 or N], factors 2^lift); `maps` [5, rows]
    gives each row's row in them, in that order.
    """
    batch, time = u.shape[0], u.shape[1]
    rows, n = h.shape[1], h.shape[2]
    y = np.empty((batch, time, rows))
    states = np.empty((batch, time if keep else 0, rows, n))
    clipped = np.zeros(batch * rows, dtype=np.int64)
    one = 2.0**decay_bits
    down = 2.0**-decay_bits
    for job in prange(batch * rows):
        i, r = job // rows, job % rows
        rk, ru, rb, rc, rl = maps[0, r], maps[1, r], maps[2, r], maps[3, r], maps[4, r]
        kn, un, bn, cn, ln = k.shape[3], u.shape[3], b.shape[3], c.shape[3], lift.shape[1]
        state = h[i, r].copy()
        gain = np.empty(n)
        for j in range(n):
            gain[j] = lift[rl, j if ln > 1 else 0]
        keep_factor = np.empty(n)
        drive = np.empty(n)
        count = 0
        for t in range(time):
            kr, ur, br, cr = k[i, t, rk], u[i, t, ru], b[i, t, rb], c[i, t, rc]
            if kn > 1:
                for j in range(n):
                    keep_factor[j] = one - kr[j]
            else:
                keep_factor[:] = one - kr[0]
            if un == 1 and bn > 1:
                u0 = ur[0]
                for j in range(n):
                    drive[j] = u0 * br[j] * gain[j]
            else:
                for j in range(n):
                    drive[j] = ur[j if un > 1 else 0] * br[j if bn > 1 else 0] * gain[j]
            total = 0.0
            for j in range(n):
                raw = np.floor((state[j] * keep_factor[j] + drive[j]) * down + 0.5)
                kept = min(max(raw, lo), hi)
                count += kept != raw
                state[j] = kept
            if cn > 1:
                for j in range(n):
                    total += state[j] * cr[j]
            else:
                for j in range(n):
                    total += state[j] * cr[0]
            y[i, t, r] = total
            if keep:
                states[i, t, r] = state
        h[i, r] = state
        clipped[job] = count
    return y, states, clipped.sum()
