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
    bits: tuple[int, int, int, int],
    base: np.ndarray,
    fall: np.ndarray,
    lo: int,
    hi: int,
    out: np.ndarray,
) -> int:
    """Divide each row by its root mean square; return how many elements saturated.

    `bits`: those of the normalised sum m, of a segment's offset, of the guard, and the last shift
    where m is the sum itself.
    """
    m_bits, segment_bits, guard, last_shift = bits
    first_segment = 1 << (m_bits - 2 - segment_bits)
    clipped = 0
    for r in range(out.size // size):
        x_row = x[r * x_step : r * x_step + size]
        y = out[r * size : (r + 1) * size]
        total = np.int64(eps)
        for c in range(size):
            total += np.int64(x_row[c]) * np.int64(x_row[c])
        j = (bit_length_of(total) - (m_bits - 1)) >> 1
        m = total >> (2 * j) if j >= 0 else total << (-2 * j)
        i = (m >> segment_bits) - first_segment
        offset = m & ((1 << segment_bits) - 1)
        inverse = (base[i] - (fall[i] * offset >> segment_bits) + (1 << (guard - 1))) >> guard
        factor = inverse * root
        left, right = max(-j - last_shift, 0), max(j + last_shift, 0)
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
    bits = (M_BITS, SEGMENT_BITS, GUARD, ROOT_BITS + SIZE_BITS - op.frac_bits)
    base, fall = np.array(BASE, dtype=np.int64), np.array(FALL, dtype=np.int64)
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y, x = room(lead), vectors_of(inputs[0], lead, out.shape)
        flat = y.view(-1).numpy()
        return y, norm_rows(x.flat, x.step, size, op.eps, root, bits, base, fall, lo, hi, flat)

    return run
