"""Quantise a state group by group and contract it: ten stages and two trees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType, i
from cosim.ops import GroupRead, GroupShift, Quantize
from rtl.numerics import add
from rtl.ops import quantize
from rtl.ops.group_scale import group_tops
from rtl.ops.group_shift import shift_of
from rtl.ops.lanes import Lanes, each, lanes, tree, within
from rtl.ops.mul_shift import shifted_product
from rtl.pipe import Pipe


def wires(op: GroupRead, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Find the shifts, quantise, multiply and shift, add in a tree."""
    made = terms(op, inputs, pipe)
    sums = [within(tree(list(made[at]), add, pipe), out) for at in np.ndindex(out.shape)]
    return lanes(sums, out.shape)


def terms(op: GroupRead, inputs: Sequence[Lanes], pipe: Pipe) -> Lanes:
    """Return the terms of each sum, [..., P, N]: find the shifts, quantise, multiply and shift."""
    h, c, t = (np.moveaxis(x, -2, -1) for x in inputs)
    rule = GroupShift(op.group, op.bits, op.most)
    tops = group_tops(h, op.group, pipe)
    shape = (*h.shape[:-1], -(-h.shape[-1] // op.group))
    shifts = lanes([shift_of(rule, top, pipe) for top in tops], shape)
    codes = quantize.wires(
        Quantize(op.group, i(op.bits)), [h, shifts], TensorType.full(i(op.bits), h.shape), pipe
    )
    spread = np.repeat(shifts, op.group, axis=-1)[..., : h.shape[-1]]
    return each(
        lambda q, c, s, t: pipe.cut(shifted_product(q, c, add(*pipe.align(s, t)), pipe)),
        codes, c, spread, t,
    )  # fmt: skip
