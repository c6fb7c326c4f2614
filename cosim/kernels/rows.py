"""Show tensors to compiled kernels as rows: one row per token, all axes of a token flattened.

A kernel gets each operand as one contiguous 1-D array and the distance between its rows: slices
of a wider value need no copy, and a constant is one row whose distance is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

from cosim.ir.op import Types
from cosim.ir.types import TensorType

INT32_LIMIT = 1 << 31

# Runs one node: input tensors [*lead, *shape] -> (output, how many elements saturated).
Kernel = Callable[[Sequence[torch.Tensor]], tuple[torch.Tensor, int]]
Data = Sequence[np.ndarray | None]


def carrier(peak: int) -> torch.dtype:
    """Return the narrowest carrier that holds every intermediate up to `peak`."""
    return torch.int32 if peak < INT32_LIMIT else torch.int64


@dataclass(frozen=True)
class Rows:
    """Hold the rows of one operand: row r starts at flat[r * step]."""

    flat: np.ndarray
    step: int


def lead_of(inputs: Sequence[torch.Tensor], types: Types) -> tuple[int, ...]:
    """Return the axes before a token's own; constants have none, so that the longest counts."""
    longest: tuple[int, ...] = ()
    for x, t in zip(inputs, types, strict=True):
        axes = x.ndim - len(t.shape)
        if axes > len(longest):
            longest = tuple(x.shape[:axes])
    return longest


def rows_of(x: torch.Tensor, lead: tuple[int, ...], shape: tuple[int, ...]) -> Rows:
    """Broadcast x to [*lead, *shape] and return its rows; copy only where it cannot be a view."""
    count, size = prod(lead), prod(shape)
    if x.is_contiguous() and x.numel() == count * size:
        return Rows(x.view(-1).numpy(), size)
    wide = x.expand(*lead, *shape).reshape(count, -1)
    if size > 1 and wide.stride(1) != 1:
        wide = wide.contiguous()
    step = wide.stride(0)
    return Rows(wide.as_strided(((count - 1) * step + size,), (1,)).numpy(), step)


def vectors_of(x: torch.Tensor, lead: tuple[int, ...], shape: tuple[int, ...]) -> Rows:
    """Return the last axis of x as rows; every other axis of a token counts as a leading one."""
    return rows_of(x, (*lead, *shape[:-1]), shape[-1:])


def constant_rows(data: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Broadcast a constant to the shape of a token and flatten it; int64."""
    wide = np.broadcast_to(data, shape).reshape(-1)
    return np.ascontiguousarray(wide, dtype=np.int64)


def room_for(out: TensorType) -> Callable[[tuple[int, ...]], torch.Tensor]:
    """Return a function that makes room for an output [*lead, *shape] in its carrier."""
    shape, dtype = out.shape, carrier(out.peak)
    return lambda lead: torch.empty((*lead, *shape), dtype=dtype)
