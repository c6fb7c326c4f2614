"""Run the scan of Mamba-2, one scalar decay per head and token: by chunks, or token by token.

Glossary (axes: b batch, t tokens, h heads, p head dim, g groups of heads, n state):
    x      input of the scan                             [b, t, h, p]
    dt     time step, positive                           [b, t, h]
    v      dt |A|, so that the decay is exp(-v)          [b, t, h]
    B, C   input and output projections, per group       [b, t, g, n]
    S      state: S = exp(-v) S + dt x B^T               [b, h, p, n]
    y      output: y = S C                               [b, t, h, p]
    s      running sum of v inside a chunk: what an input of token j has decayed by at token i is
           exp(s_j - s_i)
Source: Dao and Gu, "Transformers are SSMs", section 6 (block decomposition).
"""

import torch
from torch import Tensor

from quant.models.common import Tap, visit

LONGEST_CHUNK = 64  # longer chunks cost more multiplications than they save Python steps


def scan_by_chunks(
    x: Tensor, dt: Tensor, v: Tensor, B: Tensor, C: Tensor, state: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Return y [b, t, h, p] without the D skip, and the last state."""
    outputs = []
    for start in range(0, x.shape[1], chunk):
        part = slice(start, start + chunk)
        y, state = _chunk(
            x[:, part] * dt[:, part, :, None], v[:, part], B[:, part], C[:, part], state
        )
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def _chunk(scaled: Tensor, v: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Do one chunk of q tokens as matrix products; scaled is dt x [b, q, h, p]."""
    repeat = v.shape[-1] // B.shape[2]
    s = v.double().cumsum(1).transpose(1, 2)  # [b, h, q]; double: differences of large sums follow
    elapsed = (s[:, :, None, :] - s[:, :, :, None]).to(v.dtype)  # [b, h, i, j] is s_j - s_i
    later = torch.ones(s.shape[-1], s.shape[-1], dtype=torch.bool, device=v.device).triu(1)
    kept = torch.exp(elapsed.masked_fill(later, -torch.inf))
    scores = torch.einsum("bign,bjgn->bgij", C, B).repeat_interleave(repeat, dim=1) * kept
    inside = scores @ scaled.transpose(1, 2)  # [b, h, q, p]

    by_head = [value.repeat_interleave(repeat, dim=2).transpose(1, 2) for value in (B, C)]
    since_start = torch.exp(-s).to(v.dtype)
    carried = (by_head[1] @ state.transpose(2, 3)) * since_start[..., None]
    to_end = torch.exp(s - s[:, :, -1:]).to(v.dtype)[..., None] * by_head[0]  # [b, h, q, n]
    added = scaled.permute(0, 2, 3, 1) @ to_end
    state = since_start[:, :, -1, None, None] * state + added
    return (inside + carried).transpose(1, 2), state


def scan_by_tokens(
    x: Tensor,
    dt: Tensor,
    v: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    tap: Tap | None = None,
    prefix: str = "",
) -> tuple[Tensor, Tensor]:
    """Return the same as `scan_by_chunks`, showing the tap `prefix.state` after every token."""
    repeat = v.shape[-1] // B.shape[2]
    keep = torch.exp(-v)[..., None, None]
    scaled = x * dt[..., None]
    outputs = []
    for t in range(x.shape[1]):
        b = B[:, t].repeat_interleave(repeat, dim=1)
        c = C[:, t].repeat_interleave(repeat, dim=1)
        state = keep[:, t] * state + scaled[:, t, :, :, None] * b[:, :, None, :]
        state = visit(tap, f"{prefix}.state", state)
        outputs.append((state @ c[..., None])[..., 0])
    return torch.stack(outputs, dim=1), state
