"""Scan a state whose elements each decay by themselves (Mamba-1), compiled for its row length.

A row has few elements, 16 as a rule: only with their number known does the compiler lay a row into
whole vector registers (seven times faster than `scan_rows`, measured with AVX-512).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from cosim.kernels.compiled import compiled

LANES = 8  # float64 in the widest registers there are
MOST_ELEMENTS = 64


def has_element_scan(widths: list[int], n: int) -> bool:
    """Tell whether a state of N columns decays element by element, and N fills registers.

    >>> has_element_scan([16, 1, 16, 16, 1], 16), has_element_scan([5, 1, 5, 5, 1], 5)
    (True, False)
    """
    return widths == [n, 1, n, n, 1] and n % LANES == 0 and n <= MOST_ELEMENTS


@cache
def element_scan(n: int) -> Callable[..., int]:
    """Return the scan of states [B, rows, n]; its arguments are those of `scan_columns`."""

    @compiled
    def scan(
        h: np.ndarray,
        k: np.ndarray,
        u: np.ndarray,
        b: np.ndarray,
        c: np.ndarray,
        gain: np.ndarray,
        steps: np.ndarray,
        maps: np.ndarray,
        decay_bits: int,
        lo: float,
        hi: float,
        y: np.ndarray,
        trace: np.ndarray,
    ) -> int:
        batch, rows = h.shape[0], h.shape[1]
        time = y.shape[1]
        down = 2.0**-decay_bits
        state, out, seen = h.reshape(-1), y.reshape(-1), trace.reshape(-1)
        has_y, has_trace = y.shape[2] > 0, trace.shape[2] > 0
        b_row, c_row = np.empty(n), np.empty(n)
        clipped = 0
        for i in range(batch):
            for t in range(time):
                token = i * time + t
                b_last, c_last = -1, -1
                for r in range(rows):
                    b_at = token * steps[2] + maps[2, r] * n
                    c_at = token * steps[3] + maps[3, r] * n
                    if b_at != b_last or c_at != c_last:  # as a rule all rows share them
                        for j in range(n):
                            b_row[j], c_row[j] = b[b_at + j], c[c_at + j]
                        b_last, c_last = b_at, c_at
                    drive = u[token * steps[1] + maps[1, r]] * (gain[maps[4, r]] * down)
                    # Unsigned: no index counts from the end, which each would be tested for.
                    k_at = np.uint64(token * steps[0] + maps[0, r] * n)
                    at = np.uint64((i * rows + r) * n)
                    total = 0.0
                    for j in range(n):
                        e = np.uint64(j)
                        decay = 1.0 - k[k_at + e] * down
                        raw = np.floor(state[at + e] * decay + (drive * b_row[e] + 0.5))
                        kept = min(max(raw, lo), hi)
                        clipped += kept != raw
                        state[at + e] = kept
                        total += kept * c_row[e]
                    if has_y:
                        out[np.uint64(token * rows + r)] = np.int64(total)
                    if has_trace:
                        for j in range(n):
                            seen[(token * rows + r) * n + j] = np.int64(state[at + np.uint64(j)])
        return clipped

    kernel: Callable[..., int] = scan
    return kernel
