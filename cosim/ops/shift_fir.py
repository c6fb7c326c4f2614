"""Filter each channel over a window of scaled codes: exact, with a shift per product.

Glossary:
    q, s  [K, C]        window of codes and of their exponents, oldest first
    w     [K, C]        taps;  t [K, ceil(C/g)] their groups' exponents
    b     [C]           bias;  e [ceil(C/g)] its groups' exponents
    y_c = (b_c << e) + sum_k (q[k,c] w[k,c]) << (s[k,c] + t)
This is the convolution of LightMamba's released integer graph; `fir` has one binary point for each
channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_left
from cosim.ir.op import Op, Types, exact_type, largest
from cosim.ir.types import MAX_BITS, TensorType
from cosim.ir.work import Work, pair
from cosim.ops.group_scale import expand_groups
from cosim.ops.mul_shift import shifted_product_bounds, shifted_product_peak


@dataclass(frozen=True)
class ShiftFir(Op):
    """Sum a window against taps; inputs q, s, w, t, b, e."""

    group: int

    name: ClassVar[str] = "shift_fir"
    constants: ClassVar[tuple[int, ...]] = (2, 3, 4, 5)

    def infer(self, inputs: Types) -> TensorType:
        """Bound by K shifted products and the bias."""
        q, s, w, t, b, e = inputs
        if len(q.shape) != 2 or not q.shape == s.shape == w.shape or b.shape != q.shape[1:]:
            raise self.refuse(f"expected q, s and w [K,C] and b [C], got {q}, {s}, {w} and {b}")
        groups = -(-q.shape[1] // self.group) if self.group > 0 else 0
        if t.shape != (q.shape[0], groups) or e.shape != (groups,):
            raise self.refuse(
                f"expected t {[q.shape[0], groups]} and e {[groups]} for groups of {self.group}, "
                f"got {t} and {e}"
            )
        if e.lo < 0 or e.hi > MAX_BITS:
            raise self.refuse(f"exponents {e} must lie in 0..{MAX_BITS}")
        lo, hi = shifted_product_bounds(self, (q, w, s, t), 0)
        k = q.shape[0]
        ends = [v << x for v in (b.lo, b.hi) for x in (e.lo, e.hi)]
        return exact_type(self, b.shape, k * min(lo, 0) + min(ends), k * max(hi, 0) + max(ends))

    def meaning(self, *inputs: Array) -> Array:
        """Multiply, shift, sum over the window, add the bias."""
        q, s, w, t, b, e = inputs
        size = q.shape[-1]
        products = shift_left(q * w, s + expand_groups(t, self.group, size))
        bias = shift_left(b, expand_groups(e, self.group, size))
        return namespace(q).sum(products, axis=-2) + bias

    def peak(self, inputs: Types) -> int:
        """Bound the sum of magnitudes."""
        q, s, w, t, b, e = inputs
        products = q.shape[0] * shifted_product_peak((q, w, s, t))
        return max(products + (b.peak << e.hi), largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count K multiply-accumulates per channel, each with a shift."""
        q, s, w, t, b, e = inputs
        wide = q.dtype.bits + w.dtype.bits + s.hi + t.hi
        return Work(
            macs={pair(q.dtype.bits, w.dtype.bits): q.size},
            shifts={wide: q.size},
            adds={max(s.dtype.bits, t.dtype.bits): q.size},
            const_bits=w.size_bits + t.size_bits + b.size_bits + e.size_bits,
            in_bits=q.size_bits + s.size_bits,
            out_bits=out.size_bits,
        )
