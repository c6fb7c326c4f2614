"""Run the selective scan of Mamba-1: one decay per channel and state element.

Glossary (axes: b batch, t tokens, d channels, n state):
    x      input of the scan                          [b, t, d]
    dt     time step, positive                        [b, t, d]
    rate   |A| = exp(A_log), positive                 [d, n]
    B, C   input and output projections               [b, t, n]
    h      state: h = exp(-dt |A|) h + dt x B         [b, d, n]
    y      output: y = sum over n of h C              [b, t, d]
Source: Gu and Dao, "Mamba", algorithm 2, with the Euler step for B that all implementations use.
"""

import torch
from torch import Tensor

from quant.models.common import Tap, visit


def selective_scan(
    x: Tensor,
    dt: Tensor,
    rate: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    tap: Tap | None = None,
    prefix: str = "",
) -> tuple[Tensor, Tensor]:
    """Return y [b, t, d] without the D skip, and the last state [b, d, n].

    The tap sees `prefix.v` (dt |A| [b, t, d, n], once) and `prefix.state` (after every token).
    """
    v = None if tap is None else visit(tap, f"{prefix}.v", dt[..., None] * rate)
    scaled = dt * x
    outputs = []
    for t in range(x.shape[1]):
        exponent = dt[:, t, :, None] * rate if v is None else v[:, t]
        state = torch.exp(-exponent) * state + scaled[:, t, :, None] * B[:, t, None, :]
        state = visit(tap, f"{prefix}.state", state)
        outputs.append((state @ C[:, t, :, None])[..., 0])
    return torch.stack(outputs, dim=1), state
