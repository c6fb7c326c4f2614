"""Normalise rows by their root mean square on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.kernels.compiled import bit_length_of, compiled
from cosim.kernels.rows import Data, Kernel, lead_of, room_for, vectors_of
from cosim.ops.rms_norm import (
    BASE,
    FALL,
    FIRST_SEGMENT,
    GUARD,
    M_BITS,
    ROOT_BITS,
    SEGMENT_BITS,
    SIZE_BITS,
    RmsNorm,
)


@compiled
def norm_rows(
    x: np.ndarray,
    x_step: int,
    size: int,
    eps: int,
    root: int,
    frac_bits: int,
    base: np.ndarray,
    fall: np.ndarray,
    lo: int,
    hi: int,
    out: np.ndarray,
) -> int:
    """Divide each row by its root mean square; return how many elements saturated."""
    clipped = 0
    for r in range(out.size // size):
        x_row = x[r * x_step : r * x_step + size]
        y = out[r * size : (r + 1) * size]
        total = np.int64(eps)
        for c in range(size):
            total += np.int64(x_row[c]) * np.int64(x_row[c])
        j = (bit_length_of(total) - (M_BITS - 1)) >> 1
        m = total >> (2 * j) if j >= 0 else total << (-2 * j)
        i = (m >> SEGMENT_BITS) - FIRST_SEGMENT
        offset = m & ((1 << SEGMENT_BITS) - 1)
        inverse = (base[i] - (fall[i] * offset >> SEGMENT_BITS) + (1 << (GUARD - 1))) >> GUARD
        factor = inverse * root
        shift = j + (ROOT_BITS + SIZE_BITS - frac_bits)
        left, right = max(-shift, 0), max(shift, 0)
        half = (1 << right) >> 1
        for c in range(size):
            raw = (((np.int64(x_row[c]) * factor) << left) + half) >> right
            kept = min(max(raw, lo), hi)
            clipped += kept != raw
            y[c] = kept
    return clipped


def prepare_rms_norm(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare a normalisation."""
    assert isinstance(op, RmsNorm)
    if data[0] is not None:
        return None
    lo, hi = op.dtype.lo, op.dtype.hi
    size = out.shape[-1]
    root = op._size_root(size)
    base, fall = np.array(BASE, dtype=np.int64), np.array(FALL, dtype=np.int64)
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y, x = room(lead), vectors_of(inputs[0], lead, out.shape)
        flat = y.view(-1).numpy()
        return y, norm_rows(
            x.flat, x.step, size, op.eps, root, op.frac_bits, base, fall, lo, hi, flat
        )

    return run
