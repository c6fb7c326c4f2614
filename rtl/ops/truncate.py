"""Drop low bits and saturate: one stage."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Truncate
from rtl.numerics import Int, saturate, shift_floor
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def wires(op: Truncate, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Leave wires out, compare with the ends, register."""

    def lane(x: Int) -> Int:
        return pipe.cut(within(saturate(shift_floor(x, op.shift), op.dtype), out))

    return each(lane, *inputs)
