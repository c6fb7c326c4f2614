"""Read a matrix state out through a second quantiser: codes along N, times the codes of C.

Glossary:
    h  [..., N, P]  state, fixed point
    q, s            codes of `bits` bits and shifts of h in groups of `group` along N, per column:
                    `group_shift` (with `most`) and `quantize` of the transposed h
    c, t            codes of C and their exponents, broadcast to h
    y  [..., P]     sum_n (q c << (s + t)), exact
LightMamba's released integer graph stores its state quantised along P and reads it quantised along
N ("type 1" and "type 2"); here the second quantiser is part of the read-out, so that hardware keeps
`group` rows of the state instead of all of it. Codes that leave their range saturate inside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, saturate, shift_left
from cosim.ir.op import Op, Types, exact_type, largest, same_rank
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work, pair
from cosim.ops.group_shift import GroupShift
from cosim.ops.mul_shift import shifted_product_bounds, shifted_product_peak
from cosim.ops.quantize import Quantize
from cosim.ops.spread import Spread


@dataclass(frozen=True)
class GroupRead(Op):
    """Quantise h along its last axis but one and contract it; inputs h, c, t."""

    group: int
    bits: int
    most: int

    name: ClassVar[str] = "group_read"

    def infer(self, inputs: Types) -> TensorType:
        """Bound by N products of full codes at the largest shifts."""
        h, _, _ = inputs
        shape = same_rank(self, inputs)
        if len(shape) < 2 or shape != h.shape:
            raise self.refuse(f"operands broadcast to {list(shape)}, the state is {h}")
        lo, hi = shifted_product_bounds(self, self._codes(inputs), 0)
        n = shape[-2]
        return exact_type(self, (*shape[:-2], shape[-1]), n * min(lo, 0), n * max(hi, 0))

    def meaning(self, *inputs: Array) -> Array:
        """Turn N to the end, quantise, multiply, shift and sum."""
        h, c, t = inputs
        xp = namespace(h)
        turned = xp.moveaxis(h, -2, -1)
        shifts = self._rule.meaning(turned)
        quantise = Quantize(self.group, i(self.bits))
        q = saturate(quantise.meaning(turned, shifts), quantise.dtype)
        s = Spread(self.group, turned.shape[-1]).meaning(shifts)
        c, t = xp.moveaxis(c, -2, -1), xp.moveaxis(t, -2, -1)
        return xp.sum(shift_left(q * c, s + t), axis=-1)

    def peak(self, inputs: Types) -> int:
        """Bound the quantiser's intermediates and the sum of magnitudes."""
        h = inputs[0]
        q, _, s, _ = codes = self._codes(inputs)
        inner = Quantize(self.group, q.dtype).peak([self._turned(h), s])
        total = h.shape[-2] * shifted_product_peak(codes)
        return max(self._rule.peak([h]), inner, total, largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count the quantiser, one product per element, one shift and addition per group."""
        h, c, t = inputs
        q, _, s, _ = self._codes(inputs)
        turned = self._turned(h)
        quantise = Quantize(self.group, i(self.bits))
        inside = self._rule.work([turned], s) + quantise.work([turned, s], q)
        inside = replace(inside, in_bits=0, out_bits=0)
        return inside + Work(
            macs={pair(self.bits, c.dtype.bits): h.size},
            shifts={out.dtype.bits: s.size},
            adds={out.dtype.bits: s.size},
            in_bits=h.size_bits + c.size_bits + t.size_bits,
            out_bits=out.size_bits,
        )

    @property
    def _rule(self) -> GroupShift:
        return GroupShift(self.group, self.bits, self.most)

    @staticmethod
    def _turned(h: TensorType) -> TensorType:
        return TensorType(h.dtype, (*h.shape[:-2], h.shape[-1], h.shape[-2]), h.lo, h.hi)

    def _codes(self, inputs: Types) -> tuple[TensorType, TensorType, TensorType, TensorType]:
        """Return the types of q, c, s and t; s per group."""
        h, c, t = inputs
        s = self._rule.infer([self._turned(h)])
        return TensorType.full(i(self.bits), self._turned(h).shape), c, s, t
