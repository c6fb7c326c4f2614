"""Multiply, decay and read scaled codes on the CPU: operands are gathered, never broadcast.

Each operand comes as rows of its own shape, with a map from the elements of the result to its own:
a state of [H, N, P] elements is made from factors of [H, N, 1] and [H, 1, P] without copies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.kernels.compiled import bit_length_of, compiled
from cosim.kernels.rows import Data, Kernel, Rows, room_for, rows_of, vectors_of
from cosim.ops.group_read import GroupRead
from cosim.ops.group_shift import GroupShift
from cosim.ops.mul_shift import MulShift
from cosim.ops.shift_decay import ShiftDecay


@compiled
def group_shift_rows(
    x: np.ndarray, x_step: int, size: int, group: int, bits: int, most: int, out: np.ndarray
) -> None:
    """Give the shift of each group of each row."""
    count = -(-size // group)
    for r in range(out.size // count):
        x_row = x[r * x_step : r * x_step + size]
        y = out[r * count : (r + 1) * count]
        for g in range(count):
            part = x_row[g * group : min((g + 1) * group, size)]
            top = np.int64(0)
            for c in range(part.size):
                top = max(top, abs(np.int64(part[c])))
            y[g] = min(max(bit_length_of(max(top - 1, 0)) - (bits - 1), 0), most)


@compiled
def multiply_shift_rows(
    a: np.ndarray,
    b: np.ndarray,
    s: np.ndarray,
    t: np.ndarray,
    steps: np.ndarray,
    maps: np.ndarray,
    down: int,
    lo: int,
    hi: int,
    out: np.ndarray,
) -> int:
    """Multiply codes, shift, round down, saturate; return how many elements saturated."""
    size = maps.shape[1]
    clipped = 0
    for r in range(out.size // size):
        a_at, b_at, s_at, t_at = r * steps[0], r * steps[1], r * steps[2], r * steps[3]
        y = out[r * size : (r + 1) * size]
        for c in range(size):
            product = np.int64(a[a_at + maps[0, c]]) * np.int64(b[b_at + maps[1, c]])
            shift = np.int64(s[s_at + maps[2, c]]) + np.int64(t[t_at + maps[3, c]])
            raw = (product << shift) >> down
            kept = min(max(raw, lo), hi)
            clipped += kept != raw
            y[c] = kept
    return clipped


@compiled
def decay_rows(
    q: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    t: np.ndarray,
    u: np.ndarray,
    steps: np.ndarray,
    maps: np.ndarray,
    down: int,
    lo: int,
    hi: int,
    out: np.ndarray,
) -> int:
    """Decay states of codes and add a term; return how many elements saturated."""
    size = maps.shape[1]
    clipped = 0
    for r in range(out.size // size):
        q_at, s_at, a_at = r * steps[0], r * steps[1], r * steps[2]
        t_at, u_at = r * steps[3], r * steps[4]
        y = out[r * size : (r + 1) * size]
        for c in range(size):
            product = np.int64(q[q_at + maps[0, c]]) * np.int64(a[a_at + maps[2, c]])
            shift = np.int64(s[s_at + maps[1, c]]) + np.int64(t[t_at + maps[3, c]])
            raw = ((product << shift) >> down) + np.int64(u[u_at + maps[4, c]])
            kept = min(max(raw, lo), hi)
            clipped += kept != raw
            y[c] = kept
    return clipped


@compiled
def read_rows(
    h: np.ndarray,
    c: np.ndarray,
    t: np.ndarray,
    steps: np.ndarray,
    maps: np.ndarray,
    shape: tuple[int, int, int],
    group: int,
    bits: int,
    most: int,
    out: np.ndarray,
) -> None:
    """Quantise [outer, n, p] elements a row in groups along n, multiply and sum over n."""
    outer, n, columns = shape
    size = outer * n * columns
    code_hi = (1 << (bits - 1)) - 1
    shifts, total = np.empty(columns, dtype=np.int64), np.empty(columns, dtype=np.int64)
    for job in range(out.size // columns):
        r, o = job // outer, job % outer
        h_at, c_at, t_at = r * steps[0] + o * n * columns, r * steps[1], r * steps[2]
        total[:] = 0
        for first in range(0, n, group):
            last = min(first + group, n)
            shifts[:] = 0
            for k in range(first, last):
                for p in range(columns):
                    magnitude = abs(np.int64(h[h_at + k * columns + p]))
                    shifts[p] = max(shifts[p], magnitude)
            for p in range(columns):
                length = bit_length_of(max(shifts[p] - 1, 0)) - (bits - 1)
                shifts[p] = min(max(length, 0), most)
            for k in range(first, last):
                for p in range(columns):
                    place = (o * n + k) * columns + p
                    s = shifts[p]
                    half = (np.int64(1) << s) >> 1
                    code = (np.int64(h[h_at + k * columns + p]) + half) >> s
                    code = min(max(code, -code_hi - 1), code_hi)
                    factor = np.int64(c[c_at + maps[1, place]])
                    total[p] += (code * factor) << (s + np.int64(t[t_at + maps[2, place]]))
        for p in range(columns):
            out[job * columns + p] = total[p]
    assert size == maps.shape[1]


def prepare_group_shift(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare the shifts of groups."""
    assert isinstance(op, GroupShift)
    if data[0] is not None:
        return None
    shape, room = types[0].shape, room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = _lead(inputs[0], types[0])
        y, x = room(lead), vectors_of(inputs[0], lead, shape)
        flat = y.view(-1).numpy()
        group_shift_rows(x.flat, x.step, shape[-1], op.group, op.bits, op.most, flat)
        return y, 0

    return run


def prepare_mul_shift(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare a product of codes."""
    assert isinstance(op, MulShift)
    maps, room = _maps(types, out.shape), room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead, rows, steps = _rows(inputs, types, data)
        y = room(lead)
        flat = y.view(-1).numpy()
        ends = (op.down, op.dtype.lo, op.dtype.hi, flat)
        return y, multiply_shift_rows(*[r.flat for r in rows], steps, maps, *ends)

    return run


def prepare_shift_decay(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare the update of a state of codes."""
    assert isinstance(op, ShiftDecay)
    groups = types[1].shape[-1]
    whole = TensorType(types[1].dtype, out.shape, types[1].lo, types[1].hi)
    maps = _maps([types[0], whole, *types[2:]], out.shape)
    size = out.shape[-1]
    maps[1] = maps[1] // size * groups + maps[1] % size // op.group
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead, rows, steps = _rows(inputs, types, data)
        y = room(lead)
        ends = (op.down, op.dtype.lo, op.dtype.hi, y.view(-1).numpy())
        return y, decay_rows(*[r.flat for r in rows], steps, maps, *ends)

    return run


def prepare_group_read(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare the read-out of a state."""
    assert isinstance(op, GroupRead)
    shape = types[0].shape
    maps, room = _maps(types, shape), room_for(out)
    three = (int(np.prod(shape[:-2], dtype=np.int64)), shape[-2], shape[-1])

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead, rows, steps = _rows(inputs, types, data)
        y = room(lead)
        form = (op.group, op.bits, op.most)
        read_rows(*[r.flat for r in rows], steps, maps, three, *form, y.view(-1).numpy())
        return y, 0

    return run


def _maps(types: Types, shape: tuple[int, ...]) -> np.ndarray:
    """Return for each operand the flat element that each element of `shape` reads."""
    return np.stack(
        [
            np.broadcast_to(np.arange(t.size).reshape(t.shape), shape).reshape(-1).astype(np.int64)
            for t in types
        ]
    )


def _rows(
    inputs: Sequence[torch.Tensor], types: Types, data: Data
) -> tuple[tuple[int, ...], list[Rows], np.ndarray]:
    """Return the leading axes, the operands as rows of their own shapes, and their steps."""
    moving = [(x, t) for x, t, d in zip(inputs, types, data, strict=True) if d is None]
    lead = max((_lead(x, t) for x, t in moving), key=len)
    rows, steps = [], []
    for x, t, d in zip(inputs, types, data, strict=True):
        own = rows_of(x, () if d is not None else lead, t.shape)
        rows.append(own)
        steps.append(0 if d is not None else own.step)
    return lead, rows, np.array(steps)


def _lead(x: torch.Tensor, t: TensorType) -> tuple[int, ...]:
    return tuple(x.shape[: x.ndim - len(t.shape)])
