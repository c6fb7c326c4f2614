"""Shift to another format: three stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Requant
from rtl.ops.lanes import Lanes, each, rescaled
from rtl.pipe import Pipe


def wires(op: Requant, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Shift, round and saturate."""
    return each(lambda x, s: rescaled(x, s, out, pipe), *inputs)
