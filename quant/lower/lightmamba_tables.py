"""Rebuild the tables of LightMamba's released integer graph from their definitions.

Source: PKU-SEC-Lab/LightMamba, `ref/tables/*.txt` and `mamba_cpp/layers.h`. What the files hold is
reproduced by two rules: an entry is the function at the left edge of its step, rounded to nearest
even in the coarsest codes that the look-up shifts back; a shift is the smallest one with which its
span of entries fits the codes. tests/quant/test_lightmamba_tables.py holds them against the files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import floor, log2

import numpy as np

from cosim.ir.types import i
from cosim.ops import RmsTable, StepTable

ENTRIES, SPANS = 4096, 32
CODE_HI, MOST_SHIFT = 127, 15
# A root has 12 fraction bits, is multiplied by the norm's weight of 8, and its entries fill 8 bits.
ROOT_BITS, WEIGHT_BITS, ROOT_HI = 12, 8, 255
SEGMENTS, SEGMENT_ENTRIES, SEGMENT_GROWTH = 8, 512, 8


# torch's softplus is x itself above this: the released table has the ties that come of it.
SOFTPLUS_LINE = 20.0


def silu(x: np.ndarray) -> np.ndarray:
    """Return x / (1 + e^-x) as float64 rounds it; x > -700."""
    return x / (1.0 + np.exp(-x))


def softplus(x: np.ndarray) -> np.ndarray:
    """Return ln(1 + e^x), and x above 20."""
    return np.where(x > SOFTPLUS_LINE, x, np.log1p(np.exp(np.minimum(x, SOFTPLUS_LINE))))


@dataclass(frozen=True)
class Steps:
    """Hold a look-up: its operator, codes [4096] and shifts [32]."""

    op: StepTable
    codes: np.ndarray
    shifts: np.ndarray


def step_table(
    f: Callable[[np.ndarray], np.ndarray], in_frac: int, out_frac: int, start: int, log2_step: int
) -> Steps:
    """Tabulate f from `start` (LSBs of the input) in 4096 steps, 128 to a shift.

    >>> released("exp").shifts.tolist()[18:24]
    [0, 0, 1, 2, 4, 5]
    """
    edges = start + (np.arange(ENTRIES) << log2_step)
    real = (f(edges / 2.0**in_frac) * 2.0**out_frac).reshape(SPANS, -1)
    shifts = np.zeros(SPANS, dtype=np.int64)
    for _ in range(MOST_SHIFT):
        codes = np.rint(real / np.exp2(shifts)[:, None])
        shifts += np.abs(codes).max(axis=1) > CODE_HI
    codes = np.clip(np.rint(real / np.exp2(shifts)[:, None]), -CODE_HI - 1, CODE_HI)
    log2_span = log2_step + (ENTRIES // SPANS).bit_length() - 1
    op = StepTable(start, log2_step, log2_span)
    return Steps(op, codes.reshape(-1).astype(np.int64), shifts)


@lru_cache
def released(name: str) -> Steps:
    """Return the released look-up `silu`, `softplus` or `exp`: 10 fraction bits in; exp gives 6."""
    if name == "silu":
        return step_table(silu, 10, 10, -25 << 10, 5)
    if name == "softplus":
        return step_table(softplus, 10, 10, -25 << 10, 4)
    return step_table(np.exp, 10, 6, -20 << 10, 3)


@dataclass(frozen=True)
class Roots:
    """Hold a norm's operator and its table [8, 512]."""

    op: RmsTable
    table: np.ndarray


@dataclass(frozen=True)
class NormRange:
    """Say where the segments lie for the released size: at lo, and at lo + unit * 8^k.

    `lo` and `unit` are real sums of squares of `size` elements with `frac` fraction bits.
    """

    lo: float
    unit: float
    size: int
    frac: int


NORM_IN = NormRange(1e-4, 1.2, 2560, 10)
NORM_GATED = NormRange(0.1, 1.0, 5120, 12)


@lru_cache
def root_table(where: NormRange, size: int) -> Roots:
    """Return the norm of vectors of `size`: the released one where that is its size.

    For another size the segments keep their mean squares, and so the roots their values: the
    released numbers are bounds of a sum over 2560 or 5120 elements.
    """
    share = size / where.size
    lsb = 4.0**-where.frac
    starts = [where.lo * share] + [
        (where.lo + where.unit * SEGMENT_GROWTH**k) * share for k in range(1, SEGMENTS + 1)
    ]
    steps, lifts, rows = [], [], []
    for k in range(SEGMENTS):
        first, last = (floor(v / lsb) for v in starts[k : k + 2])
        step = floor(log2((last - first) / SEGMENT_ENTRIES)) + 1
        edges = starts[k] + np.arange(SEGMENT_ENTRIES) * 2.0**step * lsb
        roots = np.sqrt(size / edges) * 2.0**ROOT_BITS
        lift = max(int(np.ceil(np.log2(roots[0] / (ROOT_HI + 0.5)))), 0)
        steps.append(step)
        lifts.append(lift)
        rows.append(np.rint(roots / 2.0**lift).astype(np.int64))
    op = RmsTable(
        tuple(floor(v / lsb) for v in starts[:SEGMENTS]),
        tuple(steps),
        tuple(lifts),
        ROOT_BITS,
        WEIGHT_BITS,
        i(32),
    )
    return Roots(op, np.stack(rows))
