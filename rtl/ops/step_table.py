"""Look a code and its shift up: three stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import StepTable
from rtl.numerics import Int, clip, constant, shift_floor, shift_left, sub
from rtl.ops.lanes import Lanes, Operand, array_of, each, table_of, within
from rtl.pipe import Pipe


def wires(op: StepTable, inputs: Sequence[Operand], out: TensorType, pipe: Pipe) -> Lanes:
    """Find both places; look up; shift; a register after each."""
    x, table, shifts = array_of(inputs[0]), table_of(inputs[1]), table_of(inputs[2])

    def lane(x: Int) -> Int:
        distance = sub(x, constant(op.start))
        at = pipe.cut(clip(shift_floor(distance, op.log2_step), 0, table.size - 1))
        span = pipe.cut(clip(shift_floor(distance, op.log2_span), 0, shifts.size - 1))
        code, up = pipe.cut(table.entry(at)), pipe.cut(shifts.entry(span))
        return pipe.cut(within(shift_left(code, up), out))

    return each(lane, x)
