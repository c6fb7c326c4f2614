"""Shift, multiply and add element by element on the CPU: meaning, saturation and count in one pass.

Arithmetic is int64 whatever the carriers are: type inference proved that it suffices, and the
CPU's vector units turn it into 32-bit multiplies where the operands are 32 bits wide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.kernels.compiled import compiled
from cosim.kernels.rows import (
    INT32_LIMIT,
    Data,
    Kernel,
    constant_rows,
    lead_of,
    room_for,
    rows_of,
)
from cosim.ops.add import Add
from cosim.ops.mul import Mul
from cosim.ops.requant import Requant
from cosim.ops.rescale import Rescale

PIECE = 512  # elements whose wider copies stay in the first cache


@dataclass(frozen=True)
class Shifts:
    """Hold a signed shift per channel in parts: v = ((x << left) + half) >> right."""

    left: np.ndarray
    half: np.ndarray
    right: np.ndarray


def shifts_of(data: np.ndarray, shape: tuple[int, ...]) -> Shifts:
    """Split the constant shifts of a node, broadcast to a token."""
    s = constant_rows(data, shape)
    right = np.maximum(s, 0)
    half = np.where(s > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    return Shifts(np.maximum(-s, 0), half, right)


@compiled
def shift_rows(
    x: np.ndarray,
    x_step: int,
    left: np.ndarray,
    half: np.ndarray,
    right: np.ndarray,
    lo: int,
    hi: int,
    out: np.ndarray,
) -> int:
    """Shift rows with rounding half up and saturate; return how many elements saturated."""
    size = left.size
    clipped = 0
    for r in range(out.size // size):
        x_row = x[r * x_step : r * x_step + size]
        y = out[r * size : (r + 1) * size]
        for c in range(size):
            raw = ((x_row[c] << left[c]) + half[c]) >> right[c]
            kept = min(max(raw, lo), hi)
            clipped += kept != raw
            y[c] = kept
    return clipped


@compiled
def multiply_rows(
    a: np.ndarray,
    a_step: int,
    b: np.ndarray,
    b_step: int,
    left: np.ndarray,
    half: np.ndarray,
    right: np.ndarray,
    lo: int,
    hi: int,
    out: np.ndarray,
) -> int:
    """Multiply rows, shift with rounding half up and saturate; return the saturated count."""
    size = left.size
    clipped = 0
    for r in range(out.size // size):
        a_row = a[r * a_step : r * a_step + size]
        b_row = b[r * b_step : r * b_step + size]
        y = out[r * size : (r + 1) * size]
        for c in range(size):
            product = np.int64(a_row[c]) * np.int64(b_row[c])
            raw = ((product << left[c]) + half[c]) >> right[c]
            kept = min(max(raw, lo), hi)
            clipped += kept != raw
            y[c] = kept
    return clipped


@compiled
def multiply_repeated_rows(
    a: np.ndarray,
    a_step: int,
    repeat: int,
    b: np.ndarray,
    b_step: int,
    left: np.ndarray,
    half: np.ndarray,
    right: np.ndarray,
    lo: int,
    hi: int,
    out: np.ndarray,
) -> int:
    """Multiply as `multiply_rows` does where each element of `a` stands for `repeat` in a row."""
    size = left.size
    clipped = 0
    piece = max(1, PIECE // repeat) * repeat
    wide = np.empty(piece, a.dtype)
    for r in range(out.size // size):
        for start in range(0, size, piece):
            count = min(piece, size - start)
            first = r * a_step + start // repeat
            for g in range(count // repeat):
                value = a[first + g]
                for j in range(repeat):
                    wide[np.uint64(g * repeat + j)] = value
            b_row = b[r * b_step + start : r * b_step + start + count]
            y = out[r * size + start : r * size + start + count]
            to_left, add, to_right = left[start:], half[start:], right[start:]
            for c in range(count):
                product = np.int64(wide[c]) * np.int64(b_row[c])
                raw = ((product << to_left[c]) + add[c]) >> to_right[c]
                kept = min(max(raw, lo), hi)
                clipped += kept != raw
                y[c] = kept
    return clipped


@compiled
def add_rows(
    a: np.ndarray,
    a_step: int,
    b: np.ndarray,
    b_step: int,
    size: int,
    lo: int,
    hi: int,
    out: np.ndarray,
) -> int:
    """Add rows and saturate; return how many elements saturated."""
    clipped = 0
    for r in range(out.size // size):
        a_row = a[r * a_step : r * a_step + size]
        b_row = b[r * b_step : r * b_step + size]
        y = out[r * size : (r + 1) * size]
        for c in range(size):
            raw = np.int64(a_row[c]) + np.int64(b_row[c])
            kept = min(max(raw, lo), hi)
            clipped += kept != raw
            y[c] = kept
    return clipped


def prepare_requant(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare a shift by constants."""
    assert isinstance(op, Requant)
    if data[1] is None or data[0] is not None:
        return None
    s = shifts_of(data[1], out.shape)
    lo, hi = op.dtype.lo, op.dtype.hi
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y, x = room(lead), rows_of(inputs[0], lead, out.shape)
        flat = y.view(-1).numpy()
        return y, shift_rows(x.flat, x.step, s.left, s.half, s.right, lo, hi, flat)

    return run


def prepare_product(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare a product and a shift by constants."""
    assert isinstance(op, Mul | Rescale)
    if data[2] is None or all(d is not None for d in data):
        return None
    s = shifts_of(data[2], out.shape)
    lo, hi = op.dtype.lo, op.dtype.hi
    operands = _operands(data[:2], out)
    room = room_for(out)
    repeat = _repeat(types[0].shape, out.shape) if data[0] is None else 1

    def run_repeated(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y = room(lead)
        flat = y.view(-1).numpy()
        a = rows_of(inputs[0], lead, types[0].shape)
        b, b_step = operands(inputs, lead, 1)
        return y, multiply_repeated_rows(
            a.flat, a.step, repeat, b, b_step, s.left, s.half, s.right, lo, hi, flat
        )

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y = room(lead)
        flat = y.view(-1).numpy()
        return y, multiply_rows(*operands(inputs, lead), s.left, s.half, s.right, lo, hi, flat)

    return run if repeat == 1 else run_repeated


def prepare_add(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare a saturating sum."""
    assert isinstance(op, Add)
    if all(d is not None for d in data):
        return None
    lo, hi = op.dtype.lo, op.dtype.hi
    operands = _operands(data, out)
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y = room(lead)
        flat = y.view(-1).numpy()
        return y, add_rows(*operands(inputs, lead), out.size, lo, hi, flat)

    return run


def _operands(data: Data, out: TensorType) -> Callable[..., list[Any]]:
    """Return a function from inputs and their lead to the arguments (flat, step, flat, step)."""
    rows = [None if d is None else _narrow(constant_rows(d, out.shape)) for d in data]

    def take(inputs: Sequence[torch.Tensor], lead: tuple[int, ...], first: int = 0) -> list[Any]:
        found: list[Any] = []
        for x, row in zip(inputs[first:], rows[first:], strict=False):
            if row is not None:
                found += [row, 0]
            else:
                view = rows_of(x, lead, out.shape)
                found += [view.flat, view.step]
        return found

    return take


def _repeat(shape: tuple[int, ...], whole: tuple[int, ...]) -> int:
    """Return how often each element of a shape stands in a row of the whole; 1: as it is.

    >>> _repeat((256, 1), (256, 16)), _repeat((1, 16), (256, 16)), _repeat((1,), (5,))
    (16, 1, 5)
    """
    only_last = len(shape) == len(whole) and shape[:-1] == whole[:-1] and shape[-1:] == (1,)
    return whole[-1] if only_last else 1


def _narrow(row: np.ndarray) -> np.ndarray:
    """Carry a constant as its sequences would be carried: fewer kernels are compiled."""
    fits = int(np.abs(row).max()) < INT32_LIMIT
    return row.astype(np.int32) if fits else row
