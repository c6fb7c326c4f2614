"""Rotate by a Hadamard matrix: one stage for each level of additions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Hadamard
from cosim.ops.hadamard import base_matrix, split_order
from rtl.numerics import Int, add, neg, sub
from rtl.ops.lanes import Lanes, lanes, within
from rtl.pipe import Pipe


def wires(op: Hadamard, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Run butterflies over the power of two, then add signed terms over the base."""
    (x,) = inputs
    base, power = split_order(op.order)
    flat = x.reshape(-1, op.order)
    done = [_block(list(row), base, power, pipe) for row in flat]
    return lanes([within(v, out) for row in done for v in row], out.shape)


def _block(values: list[Int], base: int, power: int, pipe: Pipe) -> list[Int]:
    step = 1
    while step < power:
        moved = list(values)
        for low in range(len(values)):
            if low & step == 0:
                # Positions count inside the power of two, whose length divides the block.
                a, b = values[low], values[low + step]
                moved[low], moved[low + step] = pipe.cut(add(a, b)), pipe.cut(sub(a, b))
        values, step = moved, 2 * step
    if base == 1:
        return values
    return [
        _signed_sum(signs, values[column::power], pipe)
        for signs in base_matrix(base)
        for column in range(power)
    ]


def _signed_sum(signs: np.ndarray, values: Sequence[Int], pipe: Pipe) -> Int:
    """Add values with signs in a tree, a register after each level; signs go along to the end."""
    level = [(int(sign), x) for sign, x in zip(signs, values, strict=True)]
    while len(level) > 1:
        made = [_pair(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        made += level[len(made) * 2 :]
        if len(made) == 1 and made[0][0] < 0:
            made = [(1, neg(made[0][1]))]
        level = [(sign, pipe.cut(x)) for sign, x in made]
    return level[0][1]


def _pair(a: tuple[int, Int], b: tuple[int, Int]) -> tuple[int, Int]:
    if a[0] == b[0]:
        return a[0], add(a[1], b[1])
    return a[0], sub(a[1], b[1])
