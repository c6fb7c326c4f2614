"""Push a value into a window: one stage, the register of the new value."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Push
from rtl.ops.lanes import Lanes, each
from rtl.pipe import Pipe


def wires(op: Push, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Drop the oldest row, append the new one, register."""
    moved: Lanes = op.meaning(*inputs)
    return each(pipe.cut, moved)
