"""Evaluate a function by uniform piecewise-linear segments: SiLU, softplus, ...

Glossary:
    x        fixed-point input; segment i starts at x_i = start + (i << log2_width)
    base[i]  value at x_i in LSBs of the output, with `guard` extra fraction bits
    slope[i] rise per input LSB, with `guard` extra fraction bits
    y        round((base[i] + slope[i] * (x - x_i)) / 2^guard), i clamped to the table, so that
             the first and last segments extend as straight lines
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, round_bounds, shift_round
from cosim.ir.op import Op, Types
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class Pwl(Op):
    """Interpolate between table entries; inputs x, base [S], slope [S]; out dtype, saturating."""

    start: int
    log2_width: int
    guard: int
    dtype: IntType

    name: ClassVar[str] = "pwl"
    saturates: ClassVar[bool] = True
    constants: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, inputs: Types) -> TensorType:
        """Bound by the largest base and slope over the widest segment."""
        x, base, slope = inputs
        if len(base.shape) != 1 or base.shape != slope.shape:
            raise self.refuse(f"expected base [S] and slope [S], got {base} and {slope}")
        if self.log2_width < 0 or self.guard < 0:
            raise self.refuse(
                f"log2_width {self.log2_width} and guard {self.guard} must not be negative"
            )
        bound = self._bound(inputs)
        return TensorType(self.dtype, x.shape, *round_bounds(-bound, bound, self.guard))

    def meaning(self, *inputs: Array) -> Array:
        """Find the segment, then one multiply and one add."""
        x, base, slope = inputs
        xp = namespace(x)
        i = xp.clip((x - self.start) >> self.log2_width, 0, base.shape[-1] - 1)
        offset = x - self.start - (i << self.log2_width)
        return shift_round(base[i] + slope[i] * offset, self.guard)

    def peak(self, inputs: Types) -> int:
        """Bound the distance from the table's start and the sum before the last shift."""
        return max(inputs[0].peak + abs(self.start), self._bound(inputs) + (1 << self.guard))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Look up base and slope; multiply, add, shift, compare with the ends."""
        x, base, slope = inputs
        return Work(
            lookups={base.dtype.bits + slope.dtype.bits: x.size},
            muls={pair(slope.dtype.bits, x.dtype.bits): x.size},
            adds={base.dtype.bits: 2 * x.size},
            shifts={base.dtype.bits: x.size},
            compares={base.dtype.bits: x.size},
            const_bits=base.size_bits + slope.size_bits,
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )

    def _bound(self, inputs: Types) -> int:
        x, base, slope = inputs
        end = self.start + ((base.shape[0] - 1) << self.log2_width)
        reach = max((1 << self.log2_width) - 1, self.start - x.lo, x.hi - end)
        return base.peak + slope.peak * reach
