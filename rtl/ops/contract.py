"""Contract the last axis of two values: three stages and a tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Contract
from rtl.numerics import Int, add, mul
from rtl.ops.lanes import Lanes, each, lanes, tree, within
from rtl.pipe import Pipe


def products(a: Lanes, b: Lanes, pipe: Pipe) -> Lanes:
    """Multiply element by element in two stages: registers before and after, as a DSP has."""

    def lane(a: Int, b: Int) -> Int:
        a, b = (pipe.cut(x) for x in pipe.align(a, b))
        return pipe.cut(mul(a, b))

    return each(lane, a, b)


def wires(op: Contract, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Multiply, add in a tree, register the sum."""
    h, c = inputs
    terms = products(h, c, pipe)
    sums = [pipe.cut(within(tree(list(terms[at]), add, pipe), out)) for at in np.ndindex(out.shape)]
    return lanes(sums, out.shape)
