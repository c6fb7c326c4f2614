"""Count up to a limit: two stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Count
from rtl.numerics import Int, add, clip, constant
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def wires(op: Count, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Add one, register, hold to the limit, register."""

    def lane(x: Int) -> Int:
        more = pipe.cut(add(x, constant(1)))
        return pipe.cut(within(clip(more, 0, op.limit), out))

    return each(lane, inputs[0])
