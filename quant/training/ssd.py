"""Compute the Mamba-2 state-space recurrence, chunk by chunk for training, step by step as check.

Both forms compute, per head h with decay `exp(dt * a)`,
`state <- state * decay + dt * b x` and `y = c . state`
(Dao and Gu, "Transformers are SSMs", 2024, section 6).
"""

import torch
from torch import Tensor


def scan_chunked(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Return the outputs and the final state of one group of heads, `chunk` tokens at a time.

    Shapes: x [batch, length, heads, width], dt [batch, length, heads], a [heads] (negative),
    b and c [batch, length, state size], state [batch, state size, heads, width]. The length must
    be a multiple of `chunk`.
    """
    batch, length, heads, width = x.shape
    chunks, states = length // chunk, b.shape[-1]
    flat = heads * width
    log_decay = (dt * a).view(batch, chunks, chunk, heads).cumsum(2)
    driven = (x * dt[..., None]).view(batch, chunks, chunk, heads, width)
    b = b.view(batch, chunks, chunk, states)
    c = c.view(batch, chunks, chunk, states)

    # Inside a chunk the recurrence is an attention matrix with decaying weights.
    by_head = log_decay.permute(0, 1, 3, 2)
    span = by_head[..., :, None] - by_head[..., None, :]
    future = torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).triu(1)
    weights = span.masked_fill(future, -torch.inf).exp() * (c @ b.mT)[:, :, None]
    inside = (weights @ driven.transpose(2, 3)).transpose(2, 3)

    # Each chunk hands its end state to the next one.
    end = log_decay[:, :, -1:]
    decayed = driven * (end - log_decay).exp()[..., None]
    added = b.mT @ decayed.reshape(batch, chunks, chunk, flat)
    kept = end.exp()[:, :, 0, None, :, None]
    starts = []
    for index in range(chunks):
        starts.append(state)
        state = state * kept[:, index] + added[:, index].view(batch, states, heads, width)
    before = torch.stack(starts, 1).view(batch, chunks, states, flat)
    carried = (c @ before).view(batch, chunks, chunk, heads, width) * log_decay.exp()[..., None]
    return (inside + carried).reshape(batch, length, heads, width), state


def scan_sequential(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `scan_chunked` returns, one token at a time and by the plain definition."""
    outputs = []
    for t in range(x.shape[1]):
        decay = (dt[:, t] * a).exp()[:, None, :, None]
        driven = (x[:, t] * dt[:, t, :, None])[:, None]
        state = state * decay + driven * b[:, t, :, None, None]
        outputs.append((state * c[:, t, :, None, None]).sum(1))
    return torch.stack(outputs, 1), state
