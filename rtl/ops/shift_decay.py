"""Decay a state of codes and exponents and add a term: five stages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import ShiftDecay
from rtl.numerics import Int, add, saturate, shift_floor
from rtl.ops.lanes import Lanes, each, within
from rtl.ops.mul_shift import shifted_product
from rtl.pipe import Pipe


def wires(op: ShiftDecay, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Multiply and shift; add; saturate; a register after each."""
    q, s, a, t, u = inputs
    codes = np.repeat(s, op.group, axis=-1)[..., : q.shape[-1]]

    def lane(q: Int, s: Int, a: Int, t: Int, u: Int) -> Int:
        raised = shifted_product(a, q, add(*pipe.align(s, t)), pipe)
        kept, u = pipe.align(pipe.cut(shift_floor(raised, op.down)), u)
        total = pipe.cut(add(kept, u))
        return pipe.cut(within(saturate(total, op.dtype), out))

    return each(lane, q, codes, a, t, u)
