"""Scale, quantise and normalise vectors on the CPU: operators that share a factor in a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.kernels.compiled import bit_length_of, compiled
from cosim.kernels.rows import Data, Kernel, lead_of, room_for, vectors_of
from cosim.ops.argmax import Argmax
from cosim.ops.group_scale import RATIO_BITS, GroupScale
from cosim.ops.quantize import RECIPROCAL_BITS, Quantize, reciprocals


@compiled
def scale_rows(
    x: np.ndarray,
    x_step: int,
    size: int,
    group: int,
    ratio: int,
    ratio_bits: int,
    mantissa_bits: int,
    out: np.ndarray,
) -> None:
    """Give the scale code of each group of each row."""
    count = -(-size // group)
    for r in range(out.size // count):
        x_row = x[r * x_step : r * x_step + size]
        y = out[r * count : (r + 1) * count]
        for g in range(count):
            part = x_row[g * group : min((g + 1) * group, size)]
            top = np.int64(0)
            for c in range(part.size):
                magnitude = abs(np.int64(part[c]))
                top = magnitude if magnitude > top else top
            least = -((-(top * ratio)) >> ratio_bits)
            t = np.maximum(least, 1 << mantissa_bits)
            e = bit_length_of(t) - (mantissa_bits + 1)
            s = -((-t) >> e)
            y[g] = (e << mantissa_bits) + s - (1 << mantissa_bits)


@compiled
def quantize_rows(
    x: np.ndarray,
    x_step: int,
    codes: np.ndarray,
    codes_step: int,
    size: int,
    group: int,
    inverse: np.ndarray,
    inverse_bits: int,
    mantissa_bits: int,
    lo: int,
    hi: int,
    out: np.ndarray,
) -> int:
    """Divide each group by its scale, round half up, saturate; return the saturated count."""
    clipped = 0
    mask = (1 << mantissa_bits) - 1
    for r in range(out.size // size):
        x_row = x[r * x_step : r * x_step + size]
        y_row = out[r * size : (r + 1) * size]
        for g in range(-(-size // group)):
            code = np.int64(codes[r * codes_step + g])
            factor = inverse[code & mask]
            shift = (code >> mantissa_bits) + inverse_bits + mantissa_bits
            half = 1 << (shift - 1)
            part = x_row[g * group : min((g + 1) * group, size)]
            y = y_row[g * group : min((g + 1) * group, size)]
            for c in range(part.size):
                raw = (np.int64(part[c]) * np.int64(factor) + half) >> shift
                kept = min(max(raw, lo), hi)
                clipped += kept != raw
                y[c] = kept
    return clipped


@compiled
def first_largest_rows(x: np.ndarray, x_step: int, size: int, out: np.ndarray) -> None:
    """Give the index of the first largest element of each row."""
    for r in range(out.size):
        x_row = x[r * x_step : r * x_step + size]
        top = x_row[0]
        for c in range(size):
            top = max(top, x_row[c])
        c = 0
        while x_row[c] != top:
            c += 1
        out[r] = c


def prepare_group_scale(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare the scale codes of groups."""
    assert isinstance(op, GroupScale)
    if data[0] is not None:
        return None
    shape = types[0].shape
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y, x = room(lead), vectors_of(inputs[0], lead, shape)
        flat = y.view(-1).numpy()
        scale_rows(
            x.flat, x.step, shape[-1], op.group, op.ratio, RATIO_BITS, op.mantissa_bits, flat
        )
        return y, 0

    return run


def prepare_quantize(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare the division by dynamic scales."""
    assert isinstance(op, Quantize)
    if data[0] is not None or data[1] is not None:
        return None
    lo, hi = op.dtype.lo, op.dtype.hi
    inverse = np.array(reciprocals(op.mantissa_bits), dtype=np.int32)
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y, x = room(lead), vectors_of(inputs[0], lead, out.shape)
        codes = vectors_of(inputs[1], lead, types[1].shape)
        return y, quantize_rows(
            x.flat,
            x.step,
            codes.flat,
            codes.step,
            out.shape[-1],
            op.group,
            inverse,
            RECIPROCAL_BITS,
            op.mantissa_bits,
            lo,
            hi,
            y.view(-1).numpy(),
        )

    return run


def prepare_argmax(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare the index of the first largest element."""
    assert isinstance(op, Argmax)
    if data[0] is not None:
        return None
    shape = types[0].shape
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y, x = room(lead), vectors_of(inputs[0], lead, shape)
        first_largest_rows(x.flat, x.step, shape[-1], y.view(-1).numpy())
        return y, 0

    return run
