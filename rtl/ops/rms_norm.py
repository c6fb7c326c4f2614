"""Normalise by the root mean square: squares in a tree, ten stages to the root, five behind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import isqrt

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import RmsNorm
from cosim.ops.rms_norm import (
    BASE,
    FALL,
    FIRST_SEGMENT,
    GUARD,
    M_BITS,
    ROOT_BITS,
    SEGMENT_BITS,
    SIZE_BITS,
    rsqrt,
)
from rtl.numerics import (
    Int,
    add,
    bit_length,
    bounded,
    constant,
    mul,
    neg,
    negative,
    pick,
    select,
    shift_floor,
    shift_left,
    shift_round,
    square,
    sub,
)
from rtl.ops.lanes import Lanes, Table, lanes, rescaled, tree
from rtl.pipe import Pipe


def wires(op: RmsNorm, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Sum the squares, find the root, multiply each element by it."""
    (x,) = inputs
    size = x.shape[-1]
    found = []
    for at in np.ndindex(x.shape[:-1]):
        squares = [pipe.cut(square(v)) for v in x[at]]
        total = pipe.cut(add(tree(squares, add, pipe), constant(op.eps)))
        factor, shift = root_of(total, constant(size_root(size)), constant(fixed_shift(op)), pipe)
        for value in x[at]:
            value, by = (pipe.cut(v) for v in pipe.align(value, factor))
            found.append(rescaled(pipe.cut(mul(value, by)), shift, out, pipe))
    return lanes(found, out.shape)


def size_root(size: int) -> int:
    """Return C, the root of the size in the operator's fixed point."""
    return (isqrt(size << (2 * SIZE_BITS + 2)) + 1) >> 1


def fixed_shift(op: RmsNorm) -> int:
    """Return the part of the last shift that does not depend on the input."""
    return ROOT_BITS + SIZE_BITS - op.frac_bits


def root_of(total: Int, scale: Int, fixed: Int, pipe: Pipe) -> tuple[Int, Int]:
    """Return r * C and the last shift, eight stages after the sum of squares (its eps included).

    `scale` is C, `fixed` the fixed part of the shift; they are at the sum's stage, or constants.
    """
    count, total = pipe.cut(bit_length(total)), pipe.cut(total)
    j = pipe.cut(shift_floor(sub(count, constant(M_BITS - 1)), 1))
    total = pipe.cut(total)
    m = pipe.cut(bounded(_moved(total, j), 1 << (M_BITS - 2), (1 << M_BITS) - 1))
    segment = shift_floor(m, SEGMENT_BITS)
    index = bounded(sub(segment, constant(FIRST_SEGMENT)), 0, len(BASE) - 1)
    base, fall = (pipe.cut(Table(np.array(t)).entry(index)) for t in (BASE, FALL))
    low = pick(m.wire, range(SEGMENT_BITS))
    offset = pipe.cut(Int(low, 0, (1 << SEGMENT_BITS) - 1, m.at))
    drop, base = pipe.cut(mul(fall, offset)), pipe.cut(base)
    fine = pipe.cut(sub(base, shift_floor(drop, SEGMENT_BITS)))
    root = pipe.cut(bounded(shift_round(fine, GUARD), *_root_bounds()))
    factor = pipe.cut(mul(*pipe.align(root, scale)))
    assert factor.at is not None
    shift = add(*pipe.align(j, fixed))
    return factor, pipe.until(shift, factor.at)


def _moved(total: Int, j: Int) -> Int:
    """Return a sum divided by 4^j, rounded down; j < 0 only where the sum is below 2^14."""
    by = shift_left(j, 1)
    right = shift_floor(total, bounded(by, max(by.lo, 0), max(by.hi, 0)))
    if j.lo >= 0:
        return right
    small = bounded(total, 0, (1 << (M_BITS - 2)) - 1)
    left = shift_left(small, bounded(neg(by), 0, -by.lo))
    return select(negative(j), left, right)


@cache
def _root_bounds() -> tuple[int, int]:
    """Return the least and the largest root that the table gives, over every m there is."""
    roots = [rsqrt(m) for m in range(1 << (M_BITS - 2), 1 << M_BITS)]
    return min(roots), max(roots)
