"""Contract the last axis of two values kept as scaled codes: y = sum_n (h c << (s + t)), exactly.

Codes that share a scale may be summed before the shift, as hardware does; the integer is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_left
from cosim.ir.op import Op, Types, exact_type, same_rank
from cosim.ir.types import TensorType
from cosim.ir.work import Work, pair
from cosim.ops.mul_shift import shifted_product_bounds, shifted_product_peak


@dataclass(frozen=True)
class ContractShift(Op):
    """Read a matrix state out; inputs h, c, s, t [..., N], broadcast; `group` share a shift."""

    group: int

    name: ClassVar[str] = "contract_shift"

    def infer(self, inputs: Types) -> TensorType:
        """Bound by N shifted products."""
        shape = same_rank(self, inputs)
        if not shape or self.group < 1:
            raise self.refuse(
                f"group {self.group} and shape {list(shape)}: need group >= 1, a vector"
            )
        lo, hi = shifted_product_bounds(self, inputs, 0)
        return exact_type(self, shape[:-1], shape[-1] * min(lo, 0), shape[-1] * max(hi, 0))

    def meaning(self, *inputs: Array) -> Array:
        """Multiply, shift and sum."""
        h, c, s, t = inputs
        return namespace(h).sum(shift_left(h * c, s + t), axis=-1)

    def peak(self, inputs: Types) -> int:
        """Bound the sum of magnitudes."""
        width = same_rank(self, inputs)[-1]
        return width * shifted_product_peak(inputs)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count one multiply-accumulate per element, one shift and addition per group."""
        h, c = inputs[:2]
        width = max(x.shape[-1] for x in inputs)
        groups = out.size * -(-width // self.group)
        return Work(
            macs={pair(h.dtype.bits, c.dtype.bits): out.size * width},
            shifts={out.dtype.bits: groups},
            adds={out.dtype.bits: groups},
            in_bits=sum(x.size_bits for x in inputs),
            out_bits=out.size_bits,
        )
