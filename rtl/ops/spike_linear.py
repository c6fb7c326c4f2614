"""Multiply spikes by a matrix: the product of each step, weighed and added up in a tree."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import SpikeLinear
from rtl.numerics import Int, add, constant, mul
from rtl.ops import linear
from rtl.ops.lanes import Lanes, lanes, tree, within
from rtl.pipe import Pipe, latest


def wires(op: SpikeLinear, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Run the product of `linear` on each step's spikes; a step's weight is a shift."""
    s, w, m, *codes = inputs
    plane = TensorType(out.dtype, out.shape, -(1 << 62), (1 << 62) - 1)
    steps = [linear.wires(op.product, [s[t], w, m, *codes], plane, pipe) for t in range(op.steps)]
    found = []
    for row in range(out.shape[0]):
        terms = [weighed(sums[row], k) for sums, k in zip(steps, op.weights, strict=True)]
        at = latest(terms)
        aligned = terms if at is None else [pipe.until(x, at) for x in terms]
        found.append(pipe.cut(within(tree(aligned, add, pipe), out)))
    return lanes(found, out.shape)


def weighed(x: Int, weight: int) -> Int:
    """Multiply by a step's weight: wiring, and a negation for the sign of two's complement."""
    shifted = mul(x, constant(abs(weight)))
    return shifted if weight > 0 else mul(shifted, constant(-1))
