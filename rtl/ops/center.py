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
        mean = mean_of(tree(list(x[at]), add, pipe), size, pipe)
        for value in x[at]:
            value, middle = pipe.align(value, mean)
            # The stages that are left are for the synthesis to spread the product over.
            found.append(pipe.until(within(sub(value, middle), out), end))
    return lanes(found, out.shape)


def mean_of(total: Int, size: int, pipe: Pipe) -> Int:
    """Return the rounded mean of `size` elements, four stages after their sum."""
    s = 16 + size.bit_length()
    total = pipe.cut(total)
    product = pipe.cut(mul(total, constant(((2 << s) + size) // (2 * size))))
    half = pipe.cut(shift_half(product, s))
    return pipe.cut(round_half(half, *round_ends(product, s)))
