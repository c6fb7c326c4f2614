"""Subtract the mean: a tree, a product with the reciprocal of the size, a difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.design.kinds import STAGES, tree_stages
from cosim.ir.types import TensorType
from cosim.ops import Center
from rtl.numerics import Int, add, constant, mul, round_ends, round_half, shift_half, sub
from rtl.ops.lanes import Lanes, lanes, stage_of_all, tree, within
from rtl.pipe import Pipe


def wires(op: Center, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Sum up, find the mean, subtract it from each element."""
    (x,) = inputs
    size = x.shape[-1]
    end = stage_of_all(x) + STAGES["center"] + tree_stages(size) + STAGES["mul"]
    found = []
    for at in np.ndindex(x.shape[:-1]):
        total = pipe.cut(tree(list(x[at]), add, pipe))
        mean = mean_of(total, constant(reciprocal(size)), constant(shift_of(size)), pipe)
        for value in x[at]:
            value, middle = pipe.align(value, mean)
            # The stages that are left are for the synthesis to spread the product over.
            found.append(pipe.until(within(sub(value, middle), out), end))
    return lanes(found, out.shape)


def shift_of(size: int) -> int:
    """Return the fraction bits of the reciprocal of a size."""
    return 16 + size.bit_length()


def reciprocal(size: int) -> int:
    """Return the rounded reciprocal of a size."""
    return ((2 << shift_of(size)) + size) // (2 * size)


def mean_of(total: Int, scale: Int, s: Int, pipe: Pipe) -> Int:
    """Return the rounded mean, three stages after the sum.

    `scale` is the reciprocal of the size, with `s` fraction bits; both are at the sum's stage, or
    constants.
    """
    product, s = pipe.cut(mul(*pipe.align(total, scale))), pipe.cut(s)
    ends = round_ends(product, s)
    half = pipe.cut(shift_half(product, s))
    return pipe.cut(round_half(half, *ends))
