"""Multiply by a matrix with integer scales: the sum of a row, all its columns at once.

A matrix unit takes `columns` of them a cycle and adds up; it uses the same products, sums of a
group, and scalings.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Linear
from rtl.numerics import Int, add, mul
from rtl.ops.contract import products
from rtl.ops.dequantize import scaled
from rtl.ops.lanes import Lanes, lanes, tree, within
from rtl.pipe import Pipe, latest


def wires(op: Linear, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Sum each group of columns in a tree, scale it by its multiplier and its code, add up."""
    q, w, m = inputs[:3]
    codes = inputs[3] if op.act_group else None
    found = []
    for row in range(w.shape[0]):
        terms = products(w[row], q, pipe)
        groups = []
        for start, stop in group_runs(q.shape[0], op.weight_group, op.act_group):
            total = tree(list(terms[start:stop]), add, pipe)
            code = None if codes is None else codes[start // op.act_group]
            groups.append(group_sum(total, m[row, start // op.weight_group], code, op, pipe))
        at = latest(groups)
        aligned = groups if at is None else [pipe.until(g, at) for g in groups]
        found.append(within(tree(aligned, add, pipe), out))
    return lanes(found, out.shape)


def group_runs(size: int, weight_group: int, act_group: int) -> list[tuple[int, int]]:
    """Return the runs of columns that share both scales.

    >>> group_runs(10, 4, 6)
    [(0, 4), (4, 6), (6, 8), (8, 10)]
    """
    cuts = {*range(0, size, weight_group), *(range(0, size, act_group) if act_group else ()), size}
    edges = sorted(cuts)
    return list(itertools.pairwise(edges))


def group_sum(total: Int, m: Int, code: Int | None, op: Linear, pipe: Pipe) -> Int:
    """Scale the sum of a group by its row's multiplier and its activations' scale code."""
    total, m = pipe.align(total, m)
    total = pipe.cut(mul(total, m))
    if code is None:
        return total
    total, code = pipe.align(total, code)
    return scaled(total, code, op.mantissa_bits, pipe)
