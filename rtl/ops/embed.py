"""Look a row up: one stage."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import Embed
from rtl.ops.lanes import Lanes, Operand, array_of, each, table_of
from rtl.pipe import Pipe


def wires(op: Embed, inputs: Sequence[Operand], out: TensorType, pipe: Pipe) -> Lanes:
    """Read the row of a token, register."""
    token, table = array_of(inputs[0]), table_of(inputs[1])
    return each(pipe.cut, table.row(token.item()))
