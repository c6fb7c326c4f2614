"""Multiply group-scaled codes back to fixed point, exactly: x = q * S(c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array
from cosim.ir.op import Op, Types, exact_type, largest
from cosim.ir.types import TensorType
from cosim.ir.work import Work
from cosim.ops.group_scale import check_codes, code_bounds, decode_scale, expand_groups


@dataclass(frozen=True)
class Dequantize(Op):
    """Multiply codes by their groups' scales, exactly; inputs q [..., K], c; out q * S(c)."""

    group: int
    mantissa_bits: int = 0

    name: ClassVar[str] = "dequantize"

    def infer(self, inputs: Types) -> TensorType:
        """Bound the product by the largest scale."""
        q, c = inputs
        check_codes(self, q, c, self.group, self.mantissa_bits)
        _, most = code_bounds(c, self.mantissa_bits)
        lo, hi = min(q.lo * most, 0), max(q.hi * most, 0)
        return exact_type(self, q.shape, lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Shift and add."""
        q, c = inputs
        scale = decode_scale(c, self.mantissa_bits)
        return q * expand_groups(scale, self.group, q.shape[-1])

    def peak(self, inputs: Types) -> int:
        """Bound the largest scale and the product."""
        _q, c = inputs
        _, most = code_bounds(c, self.mantissa_bits)
        return max(most, self.infer(inputs).peak, largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Shift every element, and add where scales have a mantissa."""
        q, c = inputs
        return Work(
            shifts={q.dtype.bits: q.size},
            adds={out.dtype.bits: q.size} if self.mantissa_bits else {},
            in_bits=q.size_bits + c.size_bits,
            out_bits=out.size_bits,
        )
