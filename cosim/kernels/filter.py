"""Filter channels over their windows on the CPU, reading overlapping windows in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.kernels.compiled import compiled
from cosim.kernels.rows import Data, Kernel, carrier, room_for
from cosim.ops.fir import Fir


@compiled
def filter_rows(
    line: np.ndarray,
    steps: np.ndarray,
    taps: np.ndarray,
    bias: np.ndarray,
    inner: int,
    out: np.ndarray,
) -> None:
    """Sum each window against the taps and add the bias.

    Window (o, i) of `inner` windows per outer index starts at o * steps[0] + i * steps[1]; its
    rows are steps[2] apart.
    """
    k, size = taps.shape
    for r in range(out.size // size):
        start = (r // inner) * steps[0] + (r % inner) * steps[1]
        y = out[r * size : (r + 1) * size]
        for c in range(size):
            y[c] = bias[c]
        for t in range(k):
            x = line[start + t * steps[2] : start + t * steps[2] + size]
            tap = taps[t]
            for c in range(size):
                y[c] += x[c] * tap[c]


def prepare_fir(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare a filter with constant taps, in the carrier of its proved bounds."""
    assert isinstance(op, Fir)
    taps, bias = data[1], data[2]
    dtype = carrier(op.peak(types))
    if taps is None or bias is None or data[0] is not None or dtype != carrier(out.peak):
        return None
    narrow = torch.from_numpy(taps).to(dtype).contiguous().numpy()
    offset = torch.from_numpy(bias).to(dtype).contiguous().numpy()
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        window = inputs[0]
        lead = tuple(window.shape[:-2])
        y = room(lead)
        if window.stride(-1) != 1:
            window = window.contiguous()
        # Overlapping windows [B, T, K, C] do not flatten to one leading axis; two suffice.
        outer = window if window.ndim == 4 else window.reshape(1, -1, *window.shape[-2:])
        span = 1 + sum((n - 1) * s for n, s in zip(outer.shape, outer.stride(), strict=True))
        line = outer.as_strided((span,), (1,)).numpy()
        steps = np.array(outer.stride()[:3], dtype=np.int64)
        filter_rows(line, steps, narrow, offset, outer.shape[1], y.view(-1).numpy())
        return y, 0

    return run
