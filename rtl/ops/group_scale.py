"""Choose a scale code for each group: four stages and a tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import GroupScale
from cosim.ops.group_scale import RATIO_BITS
from rtl.numerics import (
    Int,
    absolute,
    add,
    bit_length,
    constant,
    maximum,
    mul,
    shift_ceil,
    shift_left,
    sub,
)
from rtl.ops.lanes import Lanes, each, lanes, tree, within
from rtl.pipe import Pipe


def wires(op: GroupScale, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Find the largest magnitude of each group in a tree, then its code."""
    tops = group_tops(inputs[0], op.group, pipe)
    return lanes([within(code_of(op, top, pipe), out) for top in tops], out.shape)


def group_tops(x: Lanes, group: int, pipe: Pipe) -> list[Int]:
    """Return the largest magnitude of each group along the last axis: one stage and a tree."""
    sizes = each(lambda v: pipe.cut(absolute(v)), x)
    size = x.shape[-1]
    depth = (min(group, size) - 1).bit_length()
    found = []
    for at in np.ndindex(x.shape[:-1]):
        for start in range(0, size, group):
            # The last group may be shorter: its tree is, too.
            top = tree(list(sizes[at][start : start + group]), maximum, pipe)
            found.append(pipe.until(top, (sizes[at][start].at or 0) + depth))
    return found


def code_of(op: GroupScale, top: Int, pipe: Pipe) -> Int:
    """Return the code of a group's largest magnitude, three stages later."""
    m = op.mantissa_bits
    product = pipe.cut(mul(top, constant(op.ratio)))
    least = constant(1 << m)
    t = maximum(shift_ceil(product, RATIO_BITS), least)
    e = pipe.cut(sub(bit_length(t), constant(m + 1)))
    s = shift_ceil(pipe.cut(t), e)
    return pipe.cut(sub(add(shift_left(e, m), s), least))
