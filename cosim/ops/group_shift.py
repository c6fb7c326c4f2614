"""Choose a power-of-two scale for each group of values by its bit length: a right shift only.

Glossary:
    x  [..., K]         fixed-point values
    m  the largest |x| of a group, less 1 where it is not 0
    s  [..., ceil(K/g)] bit length of m, less `bits` - 1, clamped to 0..`most`
A group of small values gets s = 0 and falls to the last bit of its fixed point; one above
2^(bits - 1 + most) saturates in `quantize`. This is the quantiser of LightMamba's released integer
graph (arXiv 2502.15260; PKU-SEC-Lab/LightMamba, `Quant`), which differs from `group_scale` where
|x| is a power of two, and in its ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, bit_length, namespace
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType, smallest_type
from cosim.ir.work import Work
from cosim.ops.group_scale import group_max

MOST_SHIFT = 31


@dataclass(frozen=True)
class GroupShift(Op):
    """Give one shift per group of the last axis; input x, out shifts (unsigned)."""

    group: int
    bits: int
    most: int

    name: ClassVar[str] = "group_shift"

    def infer(self, inputs: Types) -> TensorType:
        """Declare what `most` needs; bound the shifts by that of the largest input."""
        (x,) = inputs
        if self.group < 1 or not 2 <= self.bits <= 16 or not 0 <= self.most <= MOST_SHIFT:
            raise self.refuse(
                f"group {self.group}, bits {self.bits}, most {self.most}: need group >= 1, 2..16 "
                f"bits and most 0..{MOST_SHIFT}"
            )
        if not x.shape:
            raise self.refuse(f"the input {x} is a scalar; it has no groups")
        hi = min(max(max(x.peak - 1, 0).bit_length() - (self.bits - 1), 0), self.most)
        groups = -(-x.shape[-1] // self.group)
        return TensorType(smallest_type(0, self.most), (*x.shape[:-1], groups), 0, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Take the bit length of the group maximum less one."""
        (x,) = inputs
        xp = namespace(x)
        top = group_max(xp.abs(x), self.group)
        top = xp.where(top >= 1, top - 1, top)
        return xp.clip(bit_length(top) - (self.bits - 1), 0, self.most)

    def peak(self, inputs: Types) -> int:
        """Bound the magnitudes and the bit length."""
        return max(inputs[0].peak, 64)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Compare every element; subtract and find the leading one once per group."""
        (x,) = inputs
        return Work(
            compares={x.dtype.bits: x.size},
            adds={x.dtype.bits: out.size},
            shifts={x.dtype.bits: out.size},
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )
