"""Multiply by a weight matrix whose scales are integers: per row, or per group of columns.

Glossary (shapes of one token):
    q  [K]      activation codes (i4, i8, ...)
    c  [Ka]     scale codes of groups of `act_group` activations, see `group_scale` (optional)
    W  [R, K]   weight codes
    m  [R, Kw]  integer multiplier of each row and group of `weight_group` columns
    y  [R]      y_r = sum_k W[r,k] * m[r, k // weight_group] * q[k] * S(c[k // act_group])
The last group may be shorter. S(c) = (2^M + mantissa) << exponent is exact, so there is no
rounding here: a scale of one power of two, of two, or any integer is the same operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types, exact_type, largest, product_bounds
from cosim.ir.types import MAX_BITS, TensorType, i
from cosim.ir.work import Work, pair
from cosim.ops.group_scale import check_codes, code_bounds, decode_scale, expand_groups


@dataclass(frozen=True)
class Linear(Op):
    """Compute y = W q with integer scales; inputs: q, W, m and, where act_group > 0, codes c."""

    weight_group: int
    act_group: int = 0
    mantissa_bits: int = 0

    name: ClassVar[str] = "linear"
    constants: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, inputs: Types) -> TensorType:
        """Bound the sum by K times the largest product."""
        q, w, m = inputs[:3]
        if len(q.shape) != 1 or len(w.shape) != 2 or w.shape[1:] != q.shape:
            raise self.refuse(f"expected q [K] and W [R,K], got {q} and {w}")
        if self.weight_group < 1:
            raise self.refuse(f"weight_group is {self.weight_group}, must be at least 1")
        groups = -(-q.shape[0] // self.weight_group)
        if m.shape != (w.shape[0], groups):
            raise self.refuse(f"expected m {[w.shape[0], groups]} for {w}, got {m}")
        if (self.act_group > 0) != (len(inputs) == 4):
            raise self.refuse(f"act_group={self.act_group} and {len(inputs)} inputs disagree")
        x = self._activation(inputs)
        scaled = _product(w, m, w.shape)
        lo, hi = product_bounds(scaled, x)
        k = q.shape[0]
        lo, hi = min(k * lo, 0), max(k * hi, 0)
        return exact_type(self, (w.shape[0],), lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Scale, multiply and sum, without rounding."""
        q, w, m = inputs[:3]
        k = q.shape[-1]
        if self.act_group:
            scale = decode_scale(inputs[3], self.mantissa_bits)
            q = q * expand_groups(scale, self.act_group, k)
        w = w * expand_groups(m, self.weight_group, k)
        return q @ namespace(w).permute_dims(w, (1, 0))

    def peak(self, inputs: Types) -> int:
        """Bound the scales, the scaled operands and their sum; it holds for every partial sum."""
        _q, w, m = inputs[:3]
        scaled = max(self._activation(inputs).peak, w.peak * m.peak)
        # Where all activations are 0, the decoded scale is larger than what it scales.
        scale = code_bounds(inputs[3], self.mantissa_bits)[1] if self.act_group else 0
        return max(scale, scaled, self.infer(inputs).peak, largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count R*K multiply-accumulates, and one scaling per row and group."""
        q, w, m = inputs[:3]
        rows, k = w.shape
        muls = {pair(m.dtype.bits, w.dtype.bits + q.dtype.bits): m.size} if m.peak > 1 else {}
        scalings = {out.dtype.bits: rows * -(-k // self.act_group)} if self.act_group else {}
        return Work(
            macs={pair(w.dtype.bits, q.dtype.bits): rows * k},
            muls=muls,
            shifts=scalings,
            adds=scalings if self.mantissa_bits else {},
            const_bits=w.size_bits + m.size_bits,
            in_bits=q.size_bits + (inputs[3].size_bits if self.act_group else 0),
            out_bits=out.size_bits,
        )

    def _activation(self, inputs: Types) -> TensorType:
        q = inputs[0]
        if not self.act_group:
            return q
        codes = inputs[3]
        check_codes(self, q, codes, self.act_group, self.mantissa_bits)
        lo, hi = code_bounds(codes, self.mantissa_bits)
        return _product(q, TensorType(i(MAX_BITS), (1,), lo, hi), q.shape)


def _product(a: TensorType, b: TensorType, shape: tuple[int, ...]) -> TensorType:
    lo, hi = product_bounds(a, b)
    return TensorType(i(MAX_BITS), shape, lo, hi)
