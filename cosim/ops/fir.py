"""Filter each channel over its window: y_c = bias_c + sum_k window[k,c] * w[k,c]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types, exact_type, largest, product_bounds
from cosim.ir.types import TensorType
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class Fir(Op):
    """Sum a window against taps, exactly; inputs window [K, C], taps [K, C], bias [C]."""

    name: ClassVar[str] = "fir"

    def infer(self, inputs: Types) -> TensorType:
        """Bound by K products and the bias."""
        window, taps, bias = inputs
        if len(window.shape) != 2 or window.shape != taps.shape or bias.shape != window.shape[1:]:
            raise self.refuse(
                f"expected window [K,C], taps [K,C] and bias [C], got {window}, {taps} and {bias}"
            )
        lo, hi = product_bounds(window, taps)
        k = window.shape[0]
        lo, hi = k * min(lo, 0) + bias.lo, k * max(hi, 0) + bias.hi
        return exact_type(self, bias.shape, lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Multiply, sum over the window, add the bias."""
        window, taps, bias = inputs
        return namespace(window).sum(window * taps, axis=-2) + bias

    def peak(self, inputs: Types) -> int:
        """Bound the sum of products and the sum with the bias."""
        window, taps, bias = inputs
        total = window.shape[0] * window.peak * taps.peak + bias.peak
        return max(total, largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count K multiply-accumulates per channel."""
        window, taps, bias = inputs
        return Work(
            macs={pair(window.dtype.bits, taps.dtype.bits): window.size},
            const_bits=taps.size_bits + bias.size_bits,
            in_bits=window.size_bits,
            out_bits=out.size_bits,
        )
