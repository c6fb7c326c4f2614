"""Look a row up in a table: y = table[token]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class Embed(Op):
    """Read the row of a token; inputs: token [] and table [V, D]; out [D] of the table's type."""

    name: ClassVar[str] = "embed"
    constants: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, inputs: Types) -> TensorType:
        """Prove that the token names a row."""
        token, table = inputs
        if token.shape != () or len(table.shape) != 2:
            raise self.refuse(f"expected token [] and table [V,D], got {token} and {table}")
        if token.lo < 0 or token.hi >= table.shape[0]:
            raise self.refuse(
                f"token runs over {token.lo}..{token.hi} but the table has {table.shape[0]} rows"
            )
        return TensorType(table.dtype, table.shape[1:], table.lo, table.hi)

    def meaning(self, *inputs: Array) -> Array:
        """Index the rows."""
        token, table = inputs
        return table[token]

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Read one row."""
        return Work(const_bits=out.size_bits, in_bits=inputs[0].size_bits, out_bits=out.size_bits)
