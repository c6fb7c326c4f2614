"""Choose a shift for each group: three stages and a tree."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import GroupShift
from rtl.numerics import Int, bit_length, clip, constant, maximum, sub
from rtl.ops.group_scale import group_tops
from rtl.ops.lanes import Lanes, lanes, within
from rtl.pipe import Pipe


def wires(op: GroupShift, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Find the largest magnitude of each group in a tree, then its shift."""
    tops = group_tops(inputs[0], op.group, pipe)
    return lanes([within(shift_of(op, top, pipe), out) for top in tops], out.shape)


def shift_of(op: GroupShift, top: Int, pipe: Pipe) -> Int:
    """Return the shift of a group's largest magnitude, two stages later."""
    least = maximum(sub(top, constant(1)), constant(0))
    count = pipe.cut(bit_length(least))
    return pipe.cut(clip(sub(count, constant(op.bits - 1)), 0, op.most))
