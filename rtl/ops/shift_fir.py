"""Filter each channel over a window of codes and exponents: four stages and a tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import ShiftFir
from rtl.numerics import Int, add, shift_left
from rtl.ops.lanes import Lanes, each, lanes, tree, within
from rtl.ops.mul_shift import shifted_product
from rtl.pipe import Pipe


def wires(op: ShiftFir, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Multiply and shift; add in a tree; add the shifted bias, register."""
    q, s, w, t, b, e = inputs
    size = q.shape[-1]
    ups, lifts = (np.repeat(x, op.group, axis=-1)[..., :size] for x in (t, e))

    def lane(q: Int, s: Int, w: Int, t: Int) -> Int:
        return pipe.cut(shifted_product(q, w, add(*pipe.align(s, t)), pipe))

    terms = each(lane, q, s, w, ups)
    found = []
    for channel in range(size):
        total = tree(list(terms[:, channel]), add, pipe)
        total, bias, lift = pipe.align(total, b[channel], lifts[channel])
        found.append(pipe.cut(within(add(total, shift_left(bias, lift)), out)))
    return lanes(found, out.shape)
