"""Divide by a group's dynamic scale, round and saturate: q = round(x / S(c))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, round_bounds, shift_round
from cosim.ir.op import Op, Types
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair
from cosim.ops.group_scale import check_codes, expand_groups

RECIPROCAL_BITS = 15


def reciprocals(mantissa_bits: int) -> list[int]:
    """Return round(2^(15 + M) / (2^M + f)) for every mantissa f; exact for powers of two.

    >>> reciprocals(0), reciprocals(1)
    ([32768], [32768, 21845])
    """
    top = 1 << (RECIPROCAL_BITS + mantissa_bits)
    first = 1 << mantissa_bits
    return [(2 * top + d) // (2 * d) for d in range(first, 2 * first)]


@dataclass(frozen=True)
class Quantize(Op):
    """Quantise by a dynamic scale; inputs x [..., K], codes c [..., ceil(K/group)]; out dtype."""

    group: int
    dtype: IntType
    mantissa_bits: int = 0

    name: ClassVar[str] = "quantize"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Bound the quotient by the smallest scale."""
        x, c = inputs
        check_codes(self, x, c, self.group, self.mantissa_bits)
        r = reciprocals(self.mantissa_bits)[c.lo & ((1 << self.mantissa_bits) - 1)]
        s = (c.lo >> self.mantissa_bits) + RECIPROCAL_BITS + self.mantissa_bits
        lo, hi = round_bounds(x.lo * r, x.hi * r, s)
        return TensorType(self.dtype, x.shape, min(lo, 0), max(hi, 0))

    def meaning(self, *inputs: Array) -> Array:
        """Multiply by the mantissa's reciprocal, then shift right rounding half up."""
        x, c = inputs
        xp = namespace(x)
        table = xp.asarray(reciprocals(self.mantissa_bits), dtype=x.dtype, device=x.device)
        r = table[c & ((1 << self.mantissa_bits) - 1)]
        s = (c >> self.mantissa_bits) + (RECIPROCAL_BITS + self.mantissa_bits)
        size = x.shape[-1]
        return shift_round(
            x * expand_groups(r, self.group, size), expand_groups(s, self.group, size)
        )

    def peak(self, inputs: Types) -> int:
        """Bound the product with the reciprocal and the rounding half."""
        x, c = inputs
        s = (c.hi >> self.mantissa_bits) + RECIPROCAL_BITS + self.mantissa_bits
        return max((max(x.peak, 1) << RECIPROCAL_BITS) + (1 << (s - 1)), c.peak)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Shift, round and compare every element; multiply too where scales have a mantissa."""
        x, c = inputs
        wide = pair(x.dtype.bits, RECIPROCAL_BITS + 1)
        return Work(
            muls={wide: x.size} if self.mantissa_bits else {},
            shifts={x.dtype.bits: x.size},
            adds={x.dtype.bits: x.size},
            compares={x.dtype.bits: x.size},
            in_bits=x.size_bits + c.size_bits,
            out_bits=out.size_bits,
        )
