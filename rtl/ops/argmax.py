"""Choose the index of the largest element: two stages and a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Argmax
from rtl.numerics import Int, constant, less, select
from rtl.ops.lanes import Lanes, lanes, within
from rtl.pipe import Pipe

# A value and its index.
Entry = tuple[Int, Int]


def better(first: Entry, second: Entry) -> Entry:
    """Return the entry of the larger value; the first on a tie."""
    flag = less(first[0], second[0])
    return select(flag, second[0], first[0]), select(flag, second[1], first[1])


def wires(op: Argmax, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Register, let the elements play two by two, register the winner's index."""
    (x,) = inputs
    found = []
    for at in np.ndindex(out.shape):
        level: list[Entry] = []
        for k, value in enumerate(x[at]):
            value = pipe.cut(value)
            level.append((value, replace(constant(k), at=value.at)))
        while len(level) > 1:
            made = [better(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
            made += level[len(made) * 2 :]
            level = [(pipe.cut(v), pipe.cut(k)) for v, k in made]
        found.append(pipe.cut(within(level[0][1], out)))
    return lanes(found, out.shape)
