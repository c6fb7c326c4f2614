"""Rotate rows by an unnormalised Hadamard matrix on the CPU.

The base matrix goes first: it reads the block as [base, 2^k] and adds whole rows. The stages of
butterflies then all read neighbours (2i, 2i + 1) and write their sum to i and their difference to
i + n/2 (Pease, J. ACM 15, 1968): every stage is the same loop, which the CPU vectorises. Each
moves one bit of the index to the front, so that the block ends as [2^k, base].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.kernels.compiled import compiled
from cosim.kernels.matmul import FLOAT64_EXACT, Weight
from cosim.kernels.rows import Data, Kernel, carrier, lead_of, room_for, vectors_of
from cosim.ops.hadamard import Hadamard, base_matrix, hadamard_matrix, split_order

# Below this the base matrix adds rows too short to fill a vector; a matrix product is faster.
LEAST_POWER = 8
# A matrix of this order has 32 MiB in float64; larger rotations run as the operator writes them.
MOST_ORDER = 2048


@compiled
def rotate_rows(
    x: np.ndarray, x_step: int, size: int, signs: np.ndarray, power: int, out: np.ndarray
) -> None:
    """Rotate each block of base * power elements of each row; sums are those of `out`'s type."""
    base = signs.shape[0]
    order = base * power
    half = order // 2
    a = np.empty(order, out.dtype)
    b = np.empty(order, out.dtype)
    for r in range(out.size // size):
        for start in range(0, size, order):
            block = x[r * x_step + start : r * x_step + start + order]
            y = out[r * size + start : r * size + start + order]
            if base == 1:
                for i in range(order):
                    a[i] = block[i]
            # Every base but 1 is a multiple of 4; four rows at a time cost one pass over the sum.
            for row in range(base if base > 1 else 0):
                total = a[row * power : (row + 1) * power]
                total[:] = 0
                for k in range(0, base, 4):
                    s0, s1, s2, s3 = signs[row, k : k + 4]
                    x0 = block[k * power : (k + 1) * power]
                    x1 = block[(k + 1) * power : (k + 2) * power]
                    x2 = block[(k + 2) * power : (k + 3) * power]
                    x3 = block[(k + 3) * power : (k + 4) * power]
                    for i in range(power):
                        total[i] += s0 * x0[i] + s1 * x1[i] + s2 * x2[i] + s3 * x3[i]
            step = 1
            while step < power:
                top, bottom = b[:half], b[half:]
                for i in range(half):
                    u, v = a[2 * i], a[2 * i + 1]
                    top[i] = u + v
                    bottom[i] = u - v
                a, b = b, a
                step *= 2
            for row in range(base):
                for p in range(power):
                    y[row * power + p] = a[p * base + row]


def prepare_hadamard(op: Op, types: Types, out: TensorType, data: Data) -> Kernel | None:
    """Prepare a rotation in the carrier of its proved bounds."""
    assert isinstance(op, Hadamard)
    if data[0] is not None or carrier(op.peak(types)) != carrier(out.peak):
        return None
    base, power = split_order(op.order)
    if base > 1 and power < LEAST_POWER:
        return None
    signs = base_matrix(base)
    room = room_for(out)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        lead = lead_of(inputs, types)
        y, x = room(lead), vectors_of(inputs[0], lead, out.shape)
        rotate_rows(x.flat, x.step, out.shape[-1], signs, power, y.view(-1).numpy())
        return y, 0

    return run


def prepare_rotation(
    op: Hadamard, types: Types, out: TensorType, device: torch.device
) -> Kernel | None:
    """Prepare a rotation as one exact matrix product, on any device."""
    if op.order > MOST_ORDER or op.order * types[0].peak >= FLOAT64_EXACT:
        return None
    weight = Weight(torch.from_numpy(hadamard_matrix(op.order).copy()), device)
    peak, dtype = types[0].peak, carrier(out.peak)

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        (x,) = inputs
        blocks = x.reshape(*x.shape[:-1], -1, op.order)
        return weight.integers(blocks, peak).to(dtype).reshape(x.shape), 0

    return run
