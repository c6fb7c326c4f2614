"""Run the matrix recurrence of RWKV-5, each key channel with its own fixed decay: without bonus.

Glossary (axes: b batch, t tokens, h heads, s key channels, e value channels):
    r, k   read and write keys                      [b, t, h, s]
    v      values                                   [b, t, h, e]
    rate   -log of the decay, above zero            [h, s]
    S      state: S = exp(-rate) S + k v^T          [b, h, s, e]
    y      r S of the tokens before                 [b, t, h, e]
By chunks: y_i = sum over j < i of (r_i exp(-rate (i - 1 - j)) k_j) v_j + r_i exp(-rate i) S.
Powers relative to the middle of a chunk keep both factors small.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quant.models.common import Tap, visit

CHUNK = 32
# exp(60) is far from float32's largest, exp(88.7): faster decays, to exp(-60) over half a chunk,
# leave nothing that float32 could add.
MOST_POWER = 60.0


def scan_by_chunks(
    r: Tensor, k: Tensor, v: Tensor, rate: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Return y [b, t, h, e] and the last state."""
    if float(rate.detach().max()) * CHUNK / 2 > MOST_POWER:
        return scan_by_tokens(r, k, v, rate, state)
    outputs = []
    for start in range(0, r.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        r_part, k_part, v_part = (x[:, part].transpose(1, 2) for x in (r, k, v))
        y, state = _chunk(r_part, k_part, v_part, rate, state)
        outputs.append(y.transpose(1, 2))
    return torch.cat(outputs, dim=1), state


def _chunk(r: Tensor, k: Tensor, v: Tensor, rate: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Do one chunk of q tokens as matrix products; r, k [b, h, q, s], v [b, h, q, e]."""
    count = r.shape[2]
    at = torch.arange(count, dtype=r.dtype, device=r.device)[:, None]
    middle = count / 2
    read = r * torch.exp((middle - at) * rate[:, None])
    write = k * torch.exp((at + 1 - middle) * rate[:, None])
    seen = torch.ones(count, count, dtype=torch.bool, device=r.device).tril(-1)
    inside = (read @ write.mT).masked_fill(~seen, 0.0) @ v
    carried = (r * torch.exp(-at * rate[:, None])) @ state
    kept = torch.exp(-count * rate)[..., None] * state
    added = (k * torch.exp((at + 1 - count) * rate[:, None])).mT @ v
    return inside + carried, kept + added


def scan_by_tokens(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    rate: Tensor,
    state: Tensor,
    tap: Tap | None = None,
    prefix: str = "",
) -> tuple[Tensor, Tensor]:
    """Return the same as `scan_by_chunks`, showing the tap `prefix.state` after every token."""
    decay = torch.exp(-rate)[..., None]
    outputs = []
    for t in range(r.shape[1]):
        outputs.append((r[:, t, :, None] @ state)[:, :, 0])
        state = decay * state + k[:, t, ..., None] * v[:, t, :, None]
        state = visit(tap, f"{prefix}.state", state)
    return torch.stack(outputs, dim=1), state
