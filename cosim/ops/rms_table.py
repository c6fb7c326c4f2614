"""Normalise by the root mean square with a table of reciprocal roots, and apply the norm's weight.

Glossary (x [..., D]; K segments of E entries):
    S       sum of squares, no epsilon
    k       the last segment with S >= starts[k], 0 if none
    e       (S - starts[k]) >> log2_steps[k], clamped to 0..E-1
    root    table[k, e] << lifts[k]
    y       floor(floor(x root / 2^`root_shift`) w / 2^`weight_shift`)
This is the norm of LightMamba's released integer graph: 8 segments, each 8 times as long as the one
before, 512 entries of 8 bits. The size D is in the table. `rms_norm` interpolates and rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_floor, shift_left
from cosim.ir.op import Op, Types, largest, product_bounds
from cosim.ir.types import MAX_BITS, IntType, TensorType, i
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class RmsTable(Op):
    """Normalise the last axis; inputs x [..., D], table [K, E], w [D]; out dtype, saturating."""

    starts: tuple[int, ...]
    log2_steps: tuple[int, ...]
    lifts: tuple[int, ...]
    root_shift: int
    weight_shift: int
    dtype: IntType

    name: ClassVar[str] = "rms_table"
    saturates: ClassVar[bool] = True
    constants: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, inputs: Types) -> TensorType:
        """Bound by the largest element times the largest root and weight."""
        x, table, w = inputs
        count = len(self.starts)
        if not x.shape or w.shape != x.shape[-1:] or len(table.shape) != 2:
            raise self.refuse(f"expected x [..., D], table [K, E], w [D]; got {x}, {table}, {w}")
        if not count == len(self.log2_steps) == len(self.lifts) == table.shape[0]:
            raise self.refuse(f"{count} starts for the segments of {table}; give one of each")
        if any(a >= b for a, b in pairwise(self.starts)) or min(self.starts) < 0:
            raise self.refuse(f"starts {list(self.starts)} must rise from at least 0")
        shifts = (*self.log2_steps, *self.lifts, self.root_shift, self.weight_shift)
        if min(shifts) < 0 or max(shifts) > MAX_BITS or table.lo < 0:
            raise self.refuse(
                f"shifts must lie in 0..{MAX_BITS} and roots be positive, got {table}"
            )
        lo, hi = self._product(inputs)
        return TensorType(self.dtype, x.shape, lo >> self.weight_shift, hi >> self.weight_shift)

    def meaning(self, *inputs: Array) -> Array:
        """Sum the squares, find the segment and its entry, multiply twice."""
        x, table, w = inputs
        xp = namespace(x)
        total = xp.sum(x * x, axis=-1, keepdims=True)
        start, step = xp.full_like(total, self.starts[0]), xp.full_like(total, self.log2_steps[0])
        lift, first = xp.full_like(total, self.lifts[0]), xp.zeros_like(total)
        entries = table.shape[1]
        rows = list(zip(self.starts, self.log2_steps, self.lifts, strict=True))
        for k, (a, s, up) in enumerate(rows[1:], 1):
            there = total >= a
            start = xp.where(there, xp.full_like(total, a), start)
            step = xp.where(there, xp.full_like(total, s), step)
            lift = xp.where(there, xp.full_like(total, up), lift)
            first = xp.where(there, xp.full_like(total, k * entries), first)
        entry = xp.clip(shift_floor(total - start, step), 0, entries - 1)
        root = shift_left(xp.reshape(table, (-1,))[first + entry], lift)
        return shift_floor(shift_floor(x * root, self.root_shift) * w, self.weight_shift)

    def peak(self, inputs: Types) -> int:
        """Bound the sum of squares, the distance from a start and both products."""
        x, table, w = inputs
        squares = x.shape[-1] * x.peak * x.peak
        root = table.hi << max(self.lifts)
        normal = ((x.peak * root) >> self.root_shift) + 1
        places = (table.size, *self.lifts, *self.log2_steps)
        return max(
            squares,
            self.starts[-1],
            max(x.peak, 1) * root,
            normal * w.peak,
            *places,
            largest(inputs),
        )

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count a square and two products per element, and one root per vector."""
        x, table, w = inputs
        rows = x.size // x.shape[-1]
        root_bits = table.dtype.bits + max(self.lifts)
        normal_bits = x.dtype.bits + root_bits - self.root_shift
        first = pair(x.dtype.bits, root_bits)
        squares = Work(
            macs={pair(x.dtype.bits, x.dtype.bits): x.size},
            muls={pair(normal_bits, w.dtype.bits): x.size},
        )
        return squares + Work(
            muls={first: x.size},
            compares={
                self.starts[-1].bit_length(): rows * len(self.starts),
                out.dtype.bits: x.size,
            },
            lookups={table.dtype.bits: rows},
            shifts={root_bits: rows},
            const_bits=table.size_bits + w.size_bits,
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )

    def _product(self, inputs: Types) -> tuple[int, int]:
        """Return the bounds of the second product."""
        x, table, w = inputs
        root = TensorType(i(MAX_BITS), (1,), 0, table.hi << max(self.lifts))
        lo, hi = product_bounds(x, root)
        normal = TensorType(i(MAX_BITS), (1,), lo >> self.root_shift, hi >> self.root_shift)
        return product_bounds(normal, w)
