"""Update a decaying state kept as codes: h' = floor((a q << (s + t)) / 2^d) + u.

Glossary (broadcast to the state's shape [..., P]):
    q  state codes;  s [..., ceil(P/g)]  their groups' exponents: the state was q 2^s
    a  decay codes;  t  their exponents: the decay is a 2^(t - d), d = `down`
    u  the new term, in the binary point of h'
The floor is that of LightMamba's released integer graph. With d = 6 a decay is a multiple of 1/64:
above 1 - 1/128 it is 1 exactly, and the state never forgets. `decay_update` carries 1 - decay
instead and rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, shift_floor, shift_left
from cosim.ir.op import Op, Types, largest, same_rank
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair
from cosim.ops.group_scale import check_codes, expand_groups
from cosim.ops.mul_shift import shifted_product_bounds, shifted_product_peak


@dataclass(frozen=True)
class ShiftDecay(Op):
    """Decay the state and add a term; inputs q, s, a, t, u; out dtype, saturating."""

    group: int
    down: int
    dtype: IntType

    name: ClassVar[str] = "shift_decay"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Add the bounds of the decayed state and of the new term."""
        q, s, a, t, u = inputs
        check_codes(self, q, s, self.group, 0)
        shape = same_rank(self, (q, a, t, u))
        if shape != q.shape:
            raise self.refuse(f"operands broadcast to {list(shape)}, the state is {q}")
        lo, hi = shifted_product_bounds(self, (q, a, s, t), self.down)
        return TensorType(self.dtype, shape, (lo >> self.down) + u.lo, (hi >> self.down) + u.hi)

    def meaning(self, *inputs: Array) -> Array:
        """Multiply, shift, round down, add."""
        q, s, a, t, u = inputs
        exponent = expand_groups(s, self.group, q.shape[-1]) + t
        return shift_floor(shift_left(a * q, exponent), self.down) + u

    def peak(self, inputs: Types) -> int:
        """Bound the product shifted left and the sum."""
        q, s, a, t, u = inputs
        product = shifted_product_peak((q, a, s, t))
        return max(product, (product >> self.down) + 1 + u.peak, largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count a product, a shift and an addition per state element."""
        q, s, a, t, u = inputs
        wide = q.dtype.bits + a.dtype.bits + s.hi + t.hi
        return Work(
            macs={pair(q.dtype.bits, a.dtype.bits): out.size},
            adds={out.dtype.bits: out.size, max(s.dtype.bits, t.dtype.bits): s.size},
            shifts={wide: out.size},
            compares={out.dtype.bits: out.size},
            in_bits=a.size_bits + t.size_bits + u.size_bits,
            out_bits=out.size_bits,
            state_read_bits=q.size_bits + s.size_bits,
        )
