"""Count up to a limit, without a register: a unit that reads the count keeps it."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Count
from rtl.numerics import Int, add, clip, constant
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def wires(op: Count, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Add one, hold to the limit."""

    def lane(x: Int) -> Int:
        return within(clip(add(x, constant(1)), 0, op.limit), out)

    return each(lane, inputs[0])
