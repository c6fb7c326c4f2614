"""Look cosine and sine of a position's angles up: seven stages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Turn
from cosim.ops.turn import FRACTION_BITS, INSIDE_BITS, PHASE_BITS, QUADRANT_BITS, SEGMENT_BITS
from rtl.numerics import (
    Int,
    add,
    bounded,
    constant,
    mul,
    neg,
    pick,
    select,
    shift_floor,
    shift_round,
    sub,
)
from rtl.ops.lanes import Lanes, Operand, Table, array_of, each, table_of, within
from rtl.pipe import Pipe

_QUARTER = 1 << QUADRANT_BITS


def wires(op: Turn, inputs: Sequence[Operand], out: TensorType, pipe: Pipe) -> Lanes:
    """Multiply the position by each step; fold, look up, interpolate, round, give the sign."""
    position, steps = array_of(inputs[0]), array_of(inputs[1])
    base, rise = table_of(inputs[2]), table_of(inputs[3])

    def phase(position: Int, step: Int) -> Int:
        position, step = (pipe.cut(v) for v in pipe.align(position, step))
        return pipe.cut(_modulo(mul(position, step), PHASE_BITS))

    def sine(x: Int) -> Int:
        return _sine(op, x, base, rise, out, pipe)

    def cosine(x: Int) -> Int:
        return sine(_modulo(add(x, constant(_QUARTER)), PHASE_BITS))

    phases = each(phase, position.reshape(1), steps)
    return np.concatenate([each(cosine, phases), each(sine, phases)])


def _modulo(x: Int, bits: int) -> Int:
    """Keep the low bits of x >= 0."""
    if x.hi < 1 << bits:
        return x
    return Int(pick(x.wire, range(bits)), 0, (1 << bits) - 1, x.at)


def _sine(op: Turn, phase: Int, base: Table, rise: Table, out: TensorType, pipe: Pipe) -> Int:
    """Return the sine of a phase, five stages later."""
    phase = bounded(phase, 0, (1 << PHASE_BITS) - 1)
    inside = Int(pick(phase.wire, range(QUADRANT_BITS)), 0, _QUARTER - 1, phase.at)
    odd, minus = (pick(phase.wire, [QUADRANT_BITS + k]) for k in (0, 1))
    inside = bounded(select(odd, sub(constant(_QUARTER), inside), inside), 0, _QUARTER)
    inside, sign = pipe.cut(inside), pipe.cut(Int(minus, 0, 1, phase.at))
    index = bounded(shift_floor(inside, INSIDE_BITS), 0, 1 << SEGMENT_BITS)
    used = range(INSIDE_BITS - FRACTION_BITS, INSIDE_BITS)
    f = pipe.cut(Int(pick(inside.wire, used), 0, (1 << FRACTION_BITS) - 1, inside.at))
    at, up = pipe.cut(base.entry(index)), pipe.cut(rise.entry(index))
    product, at = pipe.cut(mul(up, f)), pipe.cut(at)
    total = pipe.cut(add(at, shift_floor(product, FRACTION_BITS)))
    y = shift_round(total, op.wave_bits - op.frac_bits)
    assert total.at is not None
    sign = pipe.until(sign, total.at)
    return pipe.cut(within(select(sign.wire, neg(y), y), out))
