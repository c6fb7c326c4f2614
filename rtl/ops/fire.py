"""Fire past a threshold: two stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Fire
from rtl.numerics import Int, Wire, less, neg, sub
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def wires(op: Fire, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Compare, register; subtract both signs' spikes, register."""

    def flag(v: Int, theta: Int) -> Wire:
        if op.comparator == ">":
            return less(theta, v)
        if op.comparator == "<":
            return less(v, theta)
        return ~less(v, theta) if op.comparator == ">=" else ~less(theta, v)

    def lane(v: Int, theta: Int) -> Int:
        v, theta = pipe.align(v, theta)
        up = pipe.cut(Int(flag(v, theta), 0, 1, v.at))
        if not op.signed:
            return pipe.cut(within(up, out))
        down = pipe.cut(Int(flag(neg(v), theta), 0, 1, v.at))
        return pipe.cut(within(sub(up, down), out))

    return each(lane, *inputs)
