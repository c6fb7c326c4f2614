"""Contract the last axis of two values: y = sum_n h[..., n] * c[..., n]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types, exact_type, product_bounds, same_rank
from cosim.ir.types import TensorType
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class Contract(Op):
    """Read a matrix state out, exactly; inputs h [..., N] and c [..., N], broadcast before N."""

    name: ClassVar[str] = "contract"

    def infer(self, inputs: Types) -> TensorType:
        """Bound by N products."""
        shape = same_rank(self, inputs)
        if not shape:
            raise self.refuse("the operands are scalars; nothing to contract")
        lo, hi = product_bounds(*inputs)
        lo, hi = shape[-1] * min(lo, 0), shape[-1] * max(hi, 0)
        return exact_type(self, shape[:-1], lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Multiply and sum."""
        h, c = inputs
        return namespace(h).sum(h * c, axis=-1)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count one multiply-accumulate per element."""
        h, c = inputs
        size = out.size * max(h.shape[-1], c.shape[-1])
        return Work(
            macs={pair(h.dtype.bits, c.dtype.bits): size},
            in_bits=h.size_bits + c.size_bits,
            out_bits=out.size_bits,
        )
