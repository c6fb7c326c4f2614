"""Scale toward zero: four stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Leak
from rtl.numerics import Int, absolute, mul, neg, negative, saturate, select, shift_floor
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def wires(op: Leak, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Take the magnitude; multiply and shift; give the sign; saturate; a register after each."""

    def lane(x: Int, m: Int) -> Int:
        x, m = pipe.align(x, m)
        below = Int(negative(x), 0, 1, x.at)
        size = pipe.cut(absolute(x))
        kept = pipe.cut(shift_floor(mul(*pipe.align(size, pipe.cut(m))), op.shift))
        below = below if below.at is None else pipe.until(below, below.at + 2)
        turned = pipe.cut(select(below.wire, neg(kept), kept) if x.lo < 0 else kept)
        return pipe.cut(within(saturate(turned, op.dtype), out))

    return each(lane, *inputs)
