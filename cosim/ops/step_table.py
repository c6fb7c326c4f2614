"""Look a function up in a table of steps, each with a coarser table of shifts.

Glossary:
    x       fixed-point input, all of it
    i       (x - start) >> log2_step,  clamped to the table [E] of codes
    j       (x - start) >> log2_span,  clamped to the table [G] of shifts
    y       table[i] << shifts[j]
There is no interpolation: the error is up to a step's rise, and half a code's. This is the look-up
of LightMamba's released integer graph (4096 codes of 8 bits, 32 shifts); `pwl` interpolates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_floor, shift_left
from cosim.ir.op import Op, Types, exact_type
from cosim.ir.types import MAX_BITS, TensorType
from cosim.ir.work import Work


@dataclass(frozen=True)
class StepTable(Op):
    """Look values up; inputs x, table [E], shifts [G]; out as wide as they can make it."""

    start: int
    log2_step: int
    log2_span: int

    name: ClassVar[str] = "step_table"
    constants: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, inputs: Types) -> TensorType:
        """Bound by the largest code at the largest shift."""
        x, table, shifts = inputs
        if len(table.shape) != 1 or len(shifts.shape) != 1:
            raise self.refuse(f"expected table [E] and shifts [G], got {table} and {shifts}")
        if not 0 <= self.log2_step <= self.log2_span <= MAX_BITS:
            raise self.refuse(
                f"log2_step {self.log2_step} and log2_span {self.log2_span}: need 0 <= step <= "
                f"span <= {MAX_BITS}"
            )
        if shifts.lo < 0 or shifts.hi > MAX_BITS:
            raise self.refuse(f"shifts must lie in 0..{MAX_BITS}, got {shifts}")
        ends = [v << s for v in (table.lo, table.hi) for s in (shifts.lo, shifts.hi)]
        return exact_type(self, x.shape, min(ends), max(ends))

    def meaning(self, *inputs: Array) -> Array:
        """Find both places, then one shift."""
        x, table, shifts = inputs
        xp = namespace(x)
        i = xp.clip(shift_floor(x - self.start, self.log2_step), 0, table.shape[0] - 1)
        j = xp.clip(shift_floor(x - self.start, self.log2_span), 0, shifts.shape[0] - 1)
        return shift_left(table[i], shifts[j])

    def peak(self, inputs: Types) -> int:
        """Bound the distance from the start, the places and the result."""
        x, table, shifts = inputs
        places = max(table.shape[0], shifts.shape[0])
        return max(x.peak + abs(self.start), places, self.infer(inputs).peak)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Look up a code and a shift; subtract, compare with the ends, shift."""
        x, table, shifts = inputs
        return Work(
            lookups={table.dtype.bits: x.size, shifts.dtype.bits: x.size},
            adds={x.dtype.bits: x.size},
            compares={x.dtype.bits: x.size},
            shifts={out.dtype.bits: x.size},
            const_bits=table.size_bits + shifts.size_bits,
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )
