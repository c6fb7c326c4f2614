"""Build piecewise-linear tables from real functions, and measure their largest error.

Glossary: the input is `x_int / 2^in_frac`, the output `y_int / 2^out_frac`; `guard` extra fraction
bits are kept in the table and rounded away once. Chords are moved by half their sag, so that the
error is centred. The error is measured in float64 on every 16-bit input and over every segment,
output rounding included, but not where the real value is outside the output's type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from cosim.ir.types import IntType
from cosim.ops.pwl import Pwl
from cosim.ops.pwl_log import PwlLog, segment_count, segment_start
from cosim.ops.turn import SEGMENT_BITS

Function = Callable[[np.ndarray], np.ndarray]
GUARD_BITS = 8
# Over 2^5 inputs a slope's rounding adds up to 2^5 / 2 / 2^GUARD_BITS = 1/16 LSB of the output.
SLOPE_STEPS_LOG2 = 5
# The longest segments of 24 bits in 2^5 per octave have 2^18 inputs, but there e^-v is flat.
LOG_GUARD_BITS = 4
# Every 16-bit input is tried when an error is measured, so that the error is a bound for them.
SHORT_INPUTS = np.arange(-(1 << 15), 1 << 15)


@dataclass(frozen=True)
class Table:
    """Hold an operator with its table and the largest real error over the table's range."""

    op: Pwl | PwlLog
    base: np.ndarray
    slope: np.ndarray
    max_error: float


def silu(x: np.ndarray) -> np.ndarray:
    """Return x / (1 + e^-x), without the overflow of e^-x."""
    return x * 0.5 * (1.0 + np.tanh(x / 2))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e^-x), without the overflow of e^-x."""
    return 0.5 * (1.0 + np.tanh(x / 2))


def softplus(x: np.ndarray) -> np.ndarray:
    """Return ln(1 + e^x)."""
    return np.logaddexp(0.0, x)


def exp_negative(v: np.ndarray) -> np.ndarray:
    """Return e^-v."""
    return np.exp(-v)


def reciprocal(x: np.ndarray) -> np.ndarray:
    """Return 1 / x; below 2^-24, the last bit of the widest fraction, 2^24."""
    return 1.0 / np.maximum(x, 2.0**-24)


def gelu(x: np.ndarray) -> np.ndarray:
    """Return x Phi(x), Phi the normal distribution (Hendrycks and Gimpel, 2016)."""
    erf = torch.special.erf(torch.from_numpy(np.asarray(x, dtype=np.float64) / np.sqrt(2.0)))
    return np.asarray(0.5 * x * (1.0 + erf.numpy()))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """Return the form of GELU with a tanh, by the same authors."""
    return np.asarray(0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))))


def relu(x: np.ndarray) -> np.ndarray:
    """Return x where it is positive, else 0."""
    return np.maximum(x, 0.0)


def rope_table(count: int, head_dim: int, theta: float, frac_bits: int = 14) -> np.ndarray:
    """Return what `rope` turns by at positions 0..count-1: cosines, then sines [count, head_dim].

    Pair j turns by theta^(-2 j / head_dim) a position (Su et al., "RoFormer", 2021).

    >>> rope_table(2, 2, 10000.0, 4).tolist()
    [[16, 0], [9, 13]]
    """
    frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.arange(count)[:, None] * frequencies
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    return np.asarray(np.rint(waves * 2.0**frac_bits).astype(np.int64))


def rope_steps(head_dim: int, theta: float) -> np.ndarray:
    """Return the steps [head_dim / 2] of `turn`: the turns of 2^32 by which each pair moves on.

    >>> rope_steps(2, 10000.0).tolist()
    [683565276]
    """
    frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    return np.asarray(np.rint(frequencies * (2.0**32 / (2 * np.pi))).astype(np.int64))


def quarter_wave(wave_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tables [257] of `turn`: the sine of k * 90 / 256 degrees, and its rises."""
    k = np.arange((1 << SEGMENT_BITS) + 1)
    base = np.rint(np.sin(k * (np.pi / 2) / (1 << SEGMENT_BITS)) * 2.0**wave_bits).astype(np.int64)
    return base, np.diff(base, append=base[-1:])


WAVE_BITS = 16
QUARTER_WAVE = quarter_wave(WAVE_BITS)


def one_minus_exp(v: np.ndarray) -> np.ndarray:
    """Return 1 - e^-v without cancellation."""
    return -np.expm1(-v)


@lru_cache(maxsize=256)
def uniform_table(
    f: Function,
    in_frac: int,
    out_frac: int,
    dtype: IntType,
    reach: float,
    log2_per_unit: int,
    ends: tuple[tuple[float, float], tuple[float, float]],
) -> Table:
    """Tabulate f on [-reach, reach) with 2^log2_per_unit segments per unit.

    `ends` gives (slope, offset) of the straight lines below and above: y = slope * x + offset.
    """
    log2_width = max(in_frac - log2_per_unit, 0)
    width = 1 << log2_width
    first = -max(int(reach * 2.0**in_frac) >> log2_width, 1) << log2_width
    # Slopes need more fraction bits than values do: of inputs finer than the output, and in
    # segments so long that a slope's rounding adds up.
    guard = GUARD_BITS + max(in_frac - out_frac, log2_width - SLOPE_STEPS_LOG2, 0)
    scale = 2.0 ** (out_frac + guard)
    starts = np.arange(first, -first, width, dtype=np.int64)
    left, right = f(starts / 2.0**in_frac), f((starts + width) / 2.0**in_frac)
    middle = f((starts + width / 2) / 2.0**in_frac)
    sag = (left + right) / 2 - middle if width > 1 else 0.0  # one point is hit exactly
    base = left - sag / 2
    slope = (right - left) / width
    (low_slope, low_offset), (high_slope, high_offset) = ends
    outer = np.array([starts[0] - width, starts[-1] + width])
    base = np.concatenate(
        [
            [low_slope * outer[0] / 2.0**in_frac + low_offset],
            base,
            [high_slope * outer[1] / 2.0**in_frac + high_offset],
        ]
    )
    slope = np.concatenate([[low_slope / 2.0**in_frac], slope, [high_slope / 2.0**in_frac]])
    with np.errstate(invalid="ignore"):  # past 64 bits: the graph refuses the table in a sentence
        codes = np.rint(base * scale).astype(np.int64), np.rint(slope * scale).astype(np.int64)
    table = Table(Pwl(int(outer[0]), log2_width, guard, dtype), *codes, 0.0)
    samples = np.concatenate(
        [SHORT_INPUTS, np.linspace(first - 1, -first, 1 << 16).astype(np.int64)]
    )
    return _measured(table, f, samples, in_frac, out_frac)


@lru_cache(maxsize=16)
def log_table(
    f: Function, in_frac: int, out_frac: int, dtype: IntType, hi: int, mantissa_bits: int
) -> Table:
    """Tabulate f on 0..hi (LSBs) with 2^mantissa_bits segments per octave."""
    # Slopes of long octaves add up their rounding, as in a uniform table of long segments.
    guard = GUARD_BITS + LOG_GUARD_BITS + max(in_frac - out_frac, 0)
    scale = 2.0 ** (out_frac + guard)
    spans = [segment_start(k, mantissa_bits) for k in range(segment_count(hi, mantissa_bits))]
    starts = np.array([s for s, _ in spans], dtype=np.int64)
    widths = np.array([1 << w for _, w in spans], dtype=np.int64)
    left, right = f(starts / 2.0**in_frac), f((starts + widths) / 2.0**in_frac)
    middle = f((starts + widths / 2) / 2.0**in_frac)
    sag = np.where(widths > 1, ((left + right) / 2 - middle) / 2, 0.0)
    table = Table(
        PwlLog(mantissa_bits, guard, dtype),
        np.rint((left - sag) * scale).astype(np.int64),
        np.rint((right - left) / widths * scale).astype(np.int64),
        0.0,
    )
    edges = np.concatenate([starts, starts + widths // 2, starts + widths - 1])
    dense = np.geomspace(1, hi, 1 << 15).astype(np.int64)
    samples = np.concatenate([edges, SHORT_INPUTS[SHORT_INPUTS >= 0], dense])
    samples = samples[samples <= hi]
    found = _measured(table, f, samples, in_frac, out_frac)
    # Between samples the rounding may be up to one LSB less lucky.
    return replace(found, max_error=found.max_error + 2.0**-out_frac)


def _measured(table: Table, f: Function, samples: np.ndarray, in_frac: int, out_frac: int) -> Table:
    got = table.op.meaning(samples, table.base, table.slope)
    got = np.clip(got, table.op.dtype.lo, table.op.dtype.hi)
    real = f(samples / 2.0**in_frac)
    inside = (real * 2.0**out_frac <= table.op.dtype.hi) & (
        real * 2.0**out_frac >= table.op.dtype.lo
    )
    error = np.abs(got / 2.0**out_frac - real)[inside]
    return replace(table, max_error=float(error.max(initial=0.0)))
