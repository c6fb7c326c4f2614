"""Filter each channel over its window: three stages and a tree."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Fir
from rtl.numerics import add
from rtl.ops.contract import products
from rtl.ops.lanes import Lanes, lanes, tree, within
from rtl.pipe import Pipe


def wires(op: Fir, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Multiply, add in a tree, add the bias, register."""
    window, taps, bias = inputs
    terms = products(window, taps, pipe)
    found = []
    for channel in range(window.shape[1]):
        total = tree(list(terms[:, channel]), add, pipe)
        total, offset = pipe.align(total, bias[channel])
        found.append(pipe.cut(within(add(total, offset), out)))
    return lanes(found, out.shape)
