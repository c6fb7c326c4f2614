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
    (x,) = inputs
    sizes = each(lambda v: pipe.cut(absolute(v)), x)
    found = []
    for at in np.ndindex(out.shape):
        group = list(sizes[at[:-1]][at[-1] * op.group : (at[-1] + 1) * op.group])
        depth = (min(op.group, x.shape[-1]) - 1).bit_length()
        top = tree(group, maximum, pipe)
        # The last group may be shorter: its tree is, too.
        top = pipe.until(top, (sizes[at[:-1]][0].at or 0) + depth)
        found.append(within(code_of(op, top, pipe), out))
    return lanes(found, out.shape)


def code_of(op: GroupScale, top: Int, pipe: Pipe) -> Int:
    """Return the code of a group's largest magnitude, three stages later."""
    m = op.mantissa_bits
    product = pipe.cut(mul(top, constant(op.ratio)))
    least = constant(1 << m)
    t = maximum(shift_ceil(product, RATIO_BITS), least)
    e = pipe.cut(sub(bit_length(t), constant(m + 1)))
    s = shift_ceil(pipe.cut(t), e)
    return pipe.cut(sub(add(shift_left(e, m), s), least))
