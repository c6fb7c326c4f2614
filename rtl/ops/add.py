"""Add and saturate: two stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Add
from rtl.numerics import Int, add, saturate
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def wires(op: Add, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Add, register, saturate, register."""

    def lane(a: Int, b: Int) -> Int:
        total = pipe.cut(add(*pipe.align(a, b)))
        return pipe.cut(within(saturate(total, op.dtype), out))

    return each(lane, *inputs)
