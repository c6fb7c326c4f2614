"""Repeat elements: wiring, no stage; the operator's own meaning on arrays of wires."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Spread
from rtl.ops.lanes import Lanes
from rtl.pipe import Pipe


def wires(op: Spread, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Wire elements up."""
    found: Lanes = op.meaning(*inputs)
    return found
