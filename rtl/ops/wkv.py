"""Add a key and its value to a decaying weighted sum: twelve stages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Wkv
from cosim.ops.wkv import SEGMENT_BITS, power_table
from rtl.numerics import (
    Int,
    Wire,
    absolute,
    add,
    bounded,
    clip,
    constant,
    less,
    maximum,
    mul,
    negative,
    pick,
    round_ends,
    round_half,
    saturate,
    select,
    shift_floor,
    shift_half,
    shift_left,
    shift_round,
    sub,
)
from rtl.ops.lanes import Lanes, Table, lanes, within
from rtl.pipe import Pipe


def wires(op: Wkv, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Weigh, add, halve: channel by channel."""
    state, k, v, s = inputs
    found = []
    for c in range(state.shape[0]):
        found += _channel(op, [*state[c], k[c], v[c], s[c]], out, pipe)
    return lanes(found, out.shape)


def _channel(op: Wkv, values: Sequence[Int], out: TensorType, pipe: Pipe) -> list[Int]:
    one = constant(1 << op.one_bits)
    p, q, o, k, v, s = pipe.align(*values)
    old, p, q, k, v = (pipe.cut(x) for x in (add(o, s), p, q, k, v))
    d, top = pipe.cut(sub(old, k)), pipe.cut(maximum(old, k))
    small, behind = _power(op, d, pipe)
    p, q, v, top = (pipe.until(x, small.at or 0) for x in (p, q, v, top))
    behind = pipe.until(behind, small.at or 0)
    a = pipe.cut(bounded(select(behind.wire, small, one), 0, 1 << op.one_bits))
    b = pipe.cut(bounded(select(behind.wire, one, small), 0, 1 << op.one_bits))
    p, q, v, top = (pipe.cut(x) for x in (p, q, v, top))
    kept = [pipe.cut(mul(x, a)) for x in (p, q)]
    added = [pipe.cut(mul(v, b)), pipe.cut(b)]
    rounded = [
        pipe.cut(round_half(shift_half(x, op.one_bits), *round_ends(x, op.one_bits))) for x in kept
    ]
    sums = [pipe.cut(add(x, pipe.cut(y))) for x, y in zip(rounded, added, strict=True)]
    top = pipe.until(top, sums[0].at or 0)
    full = ~less(sums[1], constant(2 << op.one_bits))
    halved = [_halved(x, full) for x in sums]
    rise = Int(full, 0, 1, top.at)
    o = add(top, shift_left(rise, op.frac_bits))
    done = [pipe.cut(x) for x in (*halved, o)]
    return [pipe.cut(within(saturate(x, op.dtype), out)) for x in done]


def _halved(x: Int, full: Wire) -> Int:
    return select(full, shift_round(x, 1), x)


def _power(op: Wkv, d: Int, pipe: Pipe) -> tuple[Int, Int]:
    """Return 2^-|d| in five stages, and whether d is below zero in one."""
    flag = negative(d)
    behind, d = pipe.cut(Int(flag, 0, 1, d.at)), pipe.cut(absolute(d))
    fine = max(op.frac_bits - SEGMENT_BITS, 0)
    places = min(op.frac_bits, d.bits)
    inside = Int(pick(d.wire, range(places)), 0, (1 << places) - 1, d.at) if places else constant(0)
    index = shift_left(shift_floor(inside, fine), max(SEGMENT_BITS - op.frac_bits, 0))
    starts, falls = (
        pipe.cut(Table(np.array(t)).entry(_at(index, d))) for t in power_table(op.one_bits)
    )
    low = min(fine, places)
    offset = Int(pick(inside.wire, range(low)), 0, (1 << low) - 1, d.at) if low else constant(0)
    whole = pipe.cut(clip(shift_floor(d, op.frac_bits), 0, op.one_bits + 2))
    drop, starts, whole = (pipe.cut(x) for x in (mul(falls, pipe.cut(offset)), starts, whole))
    value = pipe.cut(bounded(sub(starts, shift_round(drop, fine)), 0, 1 << op.one_bits))
    return pipe.cut(shift_round(value, pipe.cut(whole))), behind


def _at(index: Int, like: Int) -> Int:
    """Give a constant index the stage of what it stands for."""
    return Int(index.wire, index.lo, index.hi, like.at)
