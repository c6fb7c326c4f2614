"""Clip to a constant range: one stage."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Clip
from rtl.numerics import clip
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def wires(op: Clip, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Compare with both ends, register."""
    return each(lambda x: pipe.cut(within(clip(x, op.low, op.high), out)), *inputs)
