"""Write a row of a ring: the place in one stage for each bit of its number of rounds, one more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import CacheWrite
from rtl.numerics import Int, constant, equal, select
from rtl.ops.lanes import Lanes, lanes, within
from rtl.ops.masks import modulo
from rtl.pipe import Pipe


def wires(op: CacheWrite, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Find the place, choose the row there, keep the others, register."""
    cache, row, position = inputs
    place = modulo(position.item(), out.shape[0], pipe)

    def element(at: tuple[int, ...]) -> Int:
        old, new, here = pipe.align(cache[at], row[at[1:]], place)
        return pipe.cut(within(select(equal(here, constant(at[0])), new, old), out))

    return lanes([element(at) for at in np.ndindex(out.shape)], out.shape)
