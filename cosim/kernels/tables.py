"""Look functions up on the CPU: whole tables for narrow inputs, segments for wide ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.kernels.compiled import compiled, count_leading_zeros
from cosim.kernels.rows import Data, Kernel, lead_of, room_for, rows_of
from cosim.ops.embed import Embed
from cosim.ops.pwl import Pwl
from cosim.ops.pwl_log import PwlLog

# The widest input range that gets a table of its own: 2^16 results of 4 bytes stay in the L2 cache.
MOST_ENTRIES = 1 << 16
PIECE = 512  # elements looked up together


@compiled
def look_up_rows(
    x: np.ndarray,
    x_step: int,
    first: int,
    table: np.ndarray,
    beyond: np.ndarray,
    any_beyond: bool,
    size: int,
    out: np.ndarray,
) -> int:
    """Copy table[x - first]; return how many looked-up entries are marked as saturated."""
    clipped = 0
    for r in range(out.size // size):
        x_row = x[r * x_step : r * x_step + size]
        y = out[r * size : (r + 1) * size]
        for c in range(size):
            y[c] = table[np.uint64(np.int64(x_row[c]) - first)]
        if any_beyond:
            for c in range(size):
                clipped += beyond[np.uint64(np.int64(x_row[c]) - first)]
    return clipped


@compiled
def segment_rows(
    x: np.ndarray,
    x_step: int,
    base: np.ndarray,
    slope: np.ndarray,
    start: int,
    log2_width: int,
    guard: int,
    lo: int,
    hi: int,
    size: int,
    out: np.ndarray,
) -> int:
    """Interpolate in uniform segments and saturate; return how many elements saturated."""
    clipped = 0
    top = base.size - 1
    half = (1 << guard) >> 1
    for r in range(out.size // size):
        x_row = x[r * x_step : r * x_step + size]
        y = out[r * size : (r + 1) * size]
        for c in range(size):
            distance = np.int64(x_row[c]) - start
            i = np.minimum(np.maximum(distance >> log2_width, 0), top)
            raw = (base[i] + slope[i] * (distance - (i << log2_width)) + half) >> guard
            kept = min(max(raw, lo), hi)
            clipped += kept != raw
            y[c] = kept
    return clipped


@compiled
def octave_rows(
    x: np.ndarray,
    x_step: int,
    lines: np.ndarray,
    slope_bits: int,
    mantissa_bits: int,
    guard: int,
    lo: int,
    hi: int,
    size: int,
    out: np.ndarray,
) -> int:
    """Interpolate in segments that double in width; return how many elements saturated.

    An entry of `lines` holds the base above the slope: one look-up costs less than two.
    """
    clipped = 0
    half = (1 << guard) >> 1
    above = 64 - slope_bits
    # Three passes over pieces that stay in the first cache: only the look-ups are not vectors.
    index = np.empty(PIECE, np.int32)
    line = np.empty(PIECE, np.int64)
    rest = np.empty(PIECE, np.int64)
    for r in range(out.size // size):
        for start in range(0, size, PIECE):
            count = min(PIECE, size - start)
            x_row = x[r * x_step + start : r * x_step + start + count]
            y = out[r * size + start : r * size + start + count]
            for c in range(count):
                value = np.int64(x_row[c])
                shift = max(63 - count_leading_zeros(value) - mantissa_bits, 0)
                step = value >> shift
                index[c] = (shift << mantissa_bits) + step
                rest[c] = value - (step << shift)
            for c in range(count):
                line[c] = lines[index[c]]
            for c in range(count):
                slope = (line[c] << above) >> above
                raw = ((line[c] >> slope_bits) + slope * rest[c] + half) >> guard
                kept = min(max(raw, lo), hi)
                clipped += kept != raw
                y[c] = kept
    return clipped


def prepare_pwl(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare a table of all results where the input is narrow, else the segments."""
    assert isinstance(op, Pwl)
    base, slope = data[1], data[2]
    if base is None or slope is None or data[0] is not None:
        return None
    lo, hi = op.dtype.lo, op.dtype.hi
    first = types[0].lo
    narrow = types[0].hi - first < MOST_ENTRIES
    if narrow:
        raw = op.meaning(np.arange(first, types[0].hi + 1, dtype=np.int64), base, slope)
        kept = np.clip(raw, lo, hi)
        beyond = kept != raw
        any_beyond = bool(beyond.any())
        table = kept.astype(np.int32 if out.peak < 1 << 31 else np.int64)
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y, x = room(lead), rows_of(inputs[0], lead, out.shape)
        flat = y.view(-1).numpy()
        if narrow:
            return y, look_up_rows(x.flat, x.step, first, table, beyond, any_beyond, out.size, flat)
        return y, segment_rows(
            x.flat, x.step, base, slope, op.start, op.log2_width, op.guard, lo, hi, out.size, flat
        )

    return run


def prepare_pwl_log(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare the segments of a function over octaves."""
    assert isinstance(op, PwlLog)
    base, slope = data[1], data[2]
    if base is None or slope is None or data[0] is not None:
        return None
    slope_bits = _signed_bits(slope)
    if slope_bits + _signed_bits(base) > 64:
        return None
    lines = (base.astype(np.int64) << slope_bits) | (slope & ((1 << slope_bits) - 1))
    lo, hi = op.dtype.lo, op.dtype.hi
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y, x = room(lead), rows_of(inputs[0], lead, out.shape)
        flat = y.view(-1).numpy()
        return y, octave_rows(
            x.flat, x.step, lines, slope_bits, op.mantissa_bits, op.guard, lo, hi, out.size, flat
        )

    return run


def _signed_bits(x: np.ndarray) -> int:
    """Return the bits that hold all of x in two's complement."""
    return 1 + max(int(x.max()).bit_length(), (~int(x.min())).bit_length())


def prepare_embed(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare a gather of rows."""
    assert isinstance(op, Embed)
    if data[0] is not None:
        return None

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        token, table = inputs
        lead = lead_of(inputs[:1], types[:1])
        return table.index_select(0, token.reshape(-1)).reshape(*lead, *out.shape), 0

    return run
