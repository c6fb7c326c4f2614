"""Attend with the positive part of the scores: as `attend` to the scores, then one sum of all.

Stages: two and a tree for the scores, four to the weights, two and a tree for the terms.
"""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import ReluAttend
from cosim.ops.relu_attend import WEIGHT
from rtl.numerics import Int, add, clip, constant, mul, select
from rtl.ops.attend import rounded, score
from rtl.ops.contract import products
from rtl.ops.lanes import Lanes, lanes, tree, within
from rtl.ops.masks import Places
from rtl.pipe import Pipe


def wires(op: ReluAttend, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Find the flags of all places once, then each head by itself."""
    q, keys, values, position, scale, shift, *rest = inputs
    n, g = keys.shape[:2]
    share = q.shape[0] // g
    newest = position.item() if op.causal else rest[0].item()
    places = Places(op.mask, position.item(), newest, n, pipe)
    shown = [places.shown(c) for c in range(n)]
    found: list[Int] = []
    for h in range(q.shape[0]):
        weights = [
            weight(score(q[h], keys[c, h // share], pipe), scale[h], shift[h], shown[c], pipe)
            for c in range(n)
        ]
        for e in range(values.shape[2]):
            column = values[:, h // share, e]
            terms = products(lanes(weights, (n,)), column, pipe)
            found.append(within(tree(list(terms), add, pipe), out))
        found.append(within(tree([pipe.cut(x) for x in shown], add, pipe), out))
    at = max(x.at or 0 for x in found)
    return lanes([pipe.until(x, at) for x in found], out.shape)


def weight(s: Int, scale: Int, shift: Int, shown: Int, pipe: Pipe) -> Int:
    """Scale a score, round, cut below zero, leave out what is not shown: four stages."""
    scaled, shift = pipe.align(pipe.cut(mul(*pipe.align(s, scale))), shift)
    whole = clip(rounded(scaled, shift, pipe), 0, WEIGHT.hi)
    whole, shown = pipe.align(whole, shown)
    return pipe.cut(select(shown.wire, whole, constant(0)))
