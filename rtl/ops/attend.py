"""Attend to a ring of keys: all scores at once, then one tile's maximum and sums after the other.

Stages: two and a tree for the scores, four from there to the exponents; one and a tree for each
tile's maximum, one to compare it with those before; four to the weights, two and a tree for the
terms; two to shift the sums before, one to add.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Attend
from cosim.ops.attend import (
    LOWEST,
    OCTAVE_BITS,
    POWERS,
    SUM_BITS,
    TABLE_BITS,
    WEIGHT_BITS,
)
from rtl.numerics import (
    Int,
    add,
    bounded,
    clip,
    constant,
    extend,
    maximum,
    mul,
    neg,
    pick,
    round_ends,
    round_half,
    select,
    shift_floor,
    shift_half,
    shift_left,
    sub,
)
from rtl.ops.contract import products
from rtl.ops.lanes import Lanes, Table, lanes, tree, within
from rtl.ops.masks import Places
from rtl.pipe import Pipe

WEIGHTS = np.array(POWERS) << (WEIGHT_BITS - TABLE_BITS)


def wires(op: Attend, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Find the flags of all places once, then each head by itself."""
    q, keys, values, position, scale, shift, *rest = inputs
    n, g = keys.shape[:2]
    share = q.shape[0] // g
    newest = position.item() if op.causal else rest[-1].item()
    places = Places(op.mask, position.item(), newest, n, pipe)
    shown = [places.shown(c) for c in range(n)]
    table = Table(WEIGHTS)
    found = []
    for h in range(q.shape[0]):
        slope = rest[0][h] if op.alibi else None
        exponents = [
            exponent(score(q[h], keys[c, h // share], pipe), scale[h], shift[h], slope,
                     places.far(c) if op.alibi else None, pipe)
            for c in range(n)
        ]  # fmt: skip
        found += _row(op, exponents, shown, values[:, h // share], table, out, pipe)
    at = max(x.at or 0 for x in found)
    return lanes([pipe.until(x, at) for x in found], out.shape)


def score(q: Lanes, key: Lanes, pipe: Pipe) -> Int:
    """Multiply a query by a key: two stages and a tree."""
    return tree(list(products(q, key, pipe)), add, pipe)


def exponent(s: Int, scale: Int, shift: Int, slope: Int | None, far: Int | None, pipe: Pipe) -> Int:
    """Scale a score, take off what its distance costs, round: four stages."""
    scaled = pipe.cut(mul(*pipe.align(s, scale)))
    if slope is not None and far is not None:
        cost = pipe.cut(mul(*pipe.align(slope, far)))
        scaled, cost = pipe.align(scaled, cost)
        scaled = sub(scaled, cost)
    scaled, shift = pipe.align(pipe.cut(scaled), shift)
    return rounded(scaled, shift, pipe)


def rounded(x: Int, s: Int | int, pipe: Pipe) -> Int:
    """Shift right rounding half up, in two stages."""
    ends = round_ends(x, s)
    return pipe.cut(round_half(pipe.cut(shift_half(x, s)), *ends))


def octave(t: Int, shown: Int, pipe: Pipe) -> Int:
    """Return an exponent's whole octaves, the lowest there are for a key that does not count."""
    t, shown = pipe.align(t, shown)
    return pipe.cut(select(shown.wire, shift_floor(t, OCTAVE_BITS), constant(LOWEST)))


def weight(t: Int, top: Int, shown: Int, table: Table, pipe: Pipe) -> Int:
    """Return the 24 bits of 2 to an exponent above the top octave, 0 if not shown: four stages."""
    t, top, shown = pipe.align(t, top, shown)
    offset = pipe.cut(sub(t, shift_left(top, OCTAVE_BITS)))
    wide = extend(t, max(t.bits, OCTAVE_BITS))
    low = Int(pick(wide, range(OCTAVE_BITS)), 0, 255, t.at)
    base = pipe.cut(table.entry(pipe.cut(low)))
    down = pipe.cut(clip(neg(shift_floor(offset, OCTAVE_BITS)), 0, WEIGHT_BITS + 1))
    half = pipe.cut(shift_half(base, down))
    half, shown = pipe.align(half, shown)
    w = round_half(half, *round_ends(base, down))
    return pipe.cut(bounded(select(shown.wire, w, constant(0)), 0, int(WEIGHTS[-1])))


def _row(
    op: Attend, exponents: list[Int], shown: list[Int], values: Lanes, table: Table,
    out: TensorType, pipe: Pipe,
) -> list[Int]:  # fmt: skip
    """Return the numerators and the sum of one head."""
    n = len(exponents)
    top: Int | None = None
    sums: list[Int] = []
    for start in range(0, n, op.tile):
        inside = range(start, min(start + op.tile, n))
        octaves = [octave(exponents[c], shown[c], pipe) for c in inside]
        best = tree(octaves, maximum, pipe)
        before = top
        top = best if top is None else pipe.cut(maximum(*pipe.align(best, top)))
        weights = [weight(exponents[c], top, shown[c], table, pipe) for c in inside]
        columns = [
            list(products(lanes(weights, (len(inside),)), values[start : start + op.tile, e], pipe))
            for e in range(values.shape[1])
        ]
        terms = [tree(column, add, pipe) for column in [*columns, weights]]
        if before is not None:
            rise = pipe.cut(clip(sub(*pipe.align(top, before)), 0, SUM_BITS))
            kept = [rounded(x, r, pipe) for x, r in (pipe.align(x, rise) for x in sums)]
            terms = [pipe.cut(add(*pipe.align(x, y))) for x, y in zip(kept, terms, strict=True)]
        sums = [within(x, out) for x in terms]
    return sums
