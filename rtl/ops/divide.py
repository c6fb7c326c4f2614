"""Divide a row by its last element: eight stages to the reciprocal, four behind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Divide
from cosim.ops.divide import (
    BASE,
    FALL,
    FIRST_SEGMENT,
    GUARD,
    M_BITS,
    SEGMENT_BITS,
    SUM_BITS,
    reciprocal,
)
from rtl.numerics import (
    Int,
    add,
    any_bit,
    bit_length,
    bounded,
    clip,
    constant,
    mul,
    pick,
    round_ends,
    round_half,
    select,
    shift_floor,
    shift_half,
    shift_left,
    shift_round,
    sub,
)
from rtl.ops.lanes import Lanes, Table, lanes, rescaled
from rtl.pipe import Pipe


def wires(op: Divide, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Find each row's reciprocal, multiply its numerators by it."""
    (x,) = inputs
    found = []
    for at in np.ndindex(x.shape[:-1]):
        r, cut, last = reciprocal_of(x[at][-1], op, pipe)
        for value in x[at][:-1]:
            value, by = pipe.align(numerator(value, cut, op, pipe), r)
            found.append(rescaled(pipe.cut(mul(value, by)), last, out, pipe))
    stage = max(v.at or 0 for v in found)
    return lanes([pipe.until(v, stage) for v in found], out.shape)


def numerator(value: Int, cut: Int, op: Divide, pipe: Pipe) -> Int:
    """Cut a numerator like its sum, in three stages."""
    value, cut = pipe.align(value, cut)
    low = op.most << SUM_BITS
    half = pipe.cut(shift_half(value, cut))
    short = pipe.cut(round_half(half, *round_ends(value, cut)))
    return pipe.cut(clip(short, -low, low))


def reciprocal_of(total: Int, op: Divide, pipe: Pipe) -> tuple[Int, Int, Int]:
    """Return r eight stages after the sum, and after three the cut and the last shift."""
    total = pipe.cut(clip(total, 1, max(total.hi, 1)))
    count = pipe.cut(bit_length(total))
    total = pipe.cut(total)
    cut = clip(sub(count, constant(SUM_BITS)), 0, max(count.hi - SUM_BITS, 0))
    last = add(sub(count, cut), constant(M_BITS - 1 - op.frac_bits))
    kept = min(SUM_BITS, count.hi)
    last = bounded(last, M_BITS - op.frac_bits, kept + M_BITS - 1 - op.frac_bits)
    up = clip(sub(constant(M_BITS), count), 0, M_BITS)
    down = clip(sub(count, constant(M_BITS)), 0, max(count.hi - M_BITS, 0))
    small = bounded(total, 0, min(total.hi, (1 << M_BITS) - 1))
    left = pipe.cut(bounded(shift_left(small, up), 0, (1 << (2 * M_BITS)) - 1))
    right = pipe.cut(shift_floor(total, down))
    is_small = pipe.cut(up)
    m = select(any_bit(is_small.wire), left, right)
    m = pipe.cut(bounded(m, 1 << (M_BITS - 1), (1 << M_BITS) - 1))
    index = bounded(sub(shift_floor(m, SEGMENT_BITS), constant(FIRST_SEGMENT)), 0, len(BASE) - 1)
    base, fall = (pipe.cut(Table(np.array(t)).entry(index)) for t in (BASE, FALL))
    low = pick(m.wire, range(SEGMENT_BITS))
    offset = pipe.cut(Int(low, 0, (1 << SEGMENT_BITS) - 1, m.at))
    drop, base = pipe.cut(mul(fall, offset)), pipe.cut(base)
    fine = pipe.cut(sub(base, shift_floor(drop, SEGMENT_BITS)))
    r = pipe.cut(bounded(shift_round(fine, GUARD), *_ends()))
    return r, cut, last


@cache
def _ends() -> tuple[int, int]:
    """Return the least and the largest reciprocal that the table gives."""
    found = [reciprocal(m) for m in range(1 << (M_BITS - 1), 1 << M_BITS)]
    return min(found), max(found)
