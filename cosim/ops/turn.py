"""Give cosine and sine of a position's angles, as a 32-bit phase accumulator counts them.

Glossary (F = `frac_bits`; a whole turn is 2^32):
    steps [N]  what each angle grows by a position, in turns of 2^32
    phase      position * step mod 2^32: exactly what an accumulator holds after as many steps
    quadrant   phase >> 30;  inside = phase mod 2^30, mirrored (2^30 - inside) in quadrants 1 and 3
    base, rise sine of k * 90 / 256 degrees and its rise to the next, k = 0..256, `wave_bits`
               fraction bits; one table serves both, as cosine is the sine of the phase + 2^30
    y          base[k] + floor(rise[k] * f / 2^14), f 14 bits of `inside` below k; rounded to F
               bits; negative in quadrants 2 and 3
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_floor, shift_round
from cosim.ir.op import Op, Types
from cosim.ir.types import IntType, TensorType
from cosim.ir.work import Work, pair

PHASE_BITS = 32
QUADRANT_BITS = PHASE_BITS - 2
SEGMENT_BITS = 8
FRACTION_BITS = 14
# The bits of `inside` below a segment's number, of which FRACTION_BITS are used.
INSIDE_BITS = QUADRANT_BITS - SEGMENT_BITS
ENTRIES = (1 << SEGMENT_BITS) + 1


@dataclass(frozen=True)
class Turn(Op):
    """Look cosines and sines up; inputs position [], steps [N], base, rise [257]; out [2 N].

    The first N are the cosines, the last N the sines, of `frac_bits` fraction bits.
    """

    wave_bits: int
    frac_bits: int

    name: ClassVar[str] = "turn"
    constants: ClassVar[tuple[int, ...]] = (1, 2, 3)

    def infer(self, inputs: Types) -> TensorType:
        """Bound by 1: prove that the table is a rising quarter of a wave that ends there."""
        position, steps, base, rise = inputs
        if position.shape != () or len(steps.shape) != 1 or position.lo < 0 or steps.lo < 0:
            raise self.refuse(
                f"expected a position [] and steps [N], none below 0; got {position} and {steps}"
            )
        if steps.hi >= 1 << PHASE_BITS:
            raise self.refuse(f"steps must be below a turn, 2^{PHASE_BITS}, got {steps}")
        if base.shape != (ENTRIES,) or rise.shape != (ENTRIES,):
            raise self.refuse(f"expected base and rise [{ENTRIES}], got {base} and {rise}")
        if base.lo < 0 or rise.lo < 0:
            raise self.refuse(f"a quarter of a sine rises from 0, got base {base}, rise {rise}")
        if not 0 <= self.frac_bits <= self.wave_bits:
            raise self.refuse(
                f"frac_bits {self.frac_bits} must lie between 0 and wave_bits {self.wave_bits}"
            )
        down = self.wave_bits - self.frac_bits
        top = (base.hi + rise.hi + ((1 << down) >> 1)) >> down
        return TensorType(IntType(top.bit_length() + 1, True), (2 * steps.shape[0],), -top, top)

    def meaning(self, *inputs: Array) -> Array:
        """Multiply, fold into one quadrant, interpolate, round, give the sign back."""
        position, steps, base, rise = inputs
        xp = namespace(position)
        sine = (position[..., None] * steps) & ((1 << PHASE_BITS) - 1)
        phase = xp.concat([sine + (1 << QUADRANT_BITS), sine], axis=-1)
        quadrant = (phase >> QUADRANT_BITS) & 3
        inside = phase & ((1 << QUADRANT_BITS) - 1)
        inside = xp.where((quadrant & 1) == 1, (1 << QUADRANT_BITS) - inside, inside)
        k = inside >> INSIDE_BITS
        f = (inside >> (INSIDE_BITS - FRACTION_BITS)) & ((1 << FRACTION_BITS) - 1)
        y = base[k] + shift_floor(rise[k] * f, FRACTION_BITS)
        y = shift_round(y, self.wave_bits - self.frac_bits)
        return xp.where(quadrant >= 2, -y, y)

    def peak(self, inputs: Types) -> int:
        """Bound the position times a step, the phase, and the interpolated rise."""
        position, steps, base, rise = inputs
        return max(
            position.peak * steps.peak,
            position.peak,
            (1 << PHASE_BITS) + (1 << QUADRANT_BITS),
            rise.peak << FRACTION_BITS,
            base.peak + rise.peak + (1 << (self.wave_bits - self.frac_bits)),
        )

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count a product, then a look-up and a product for each cosine and sine."""
        position, steps, base, rise = inputs
        return Work(
            lookups={base.dtype.bits + rise.dtype.bits: out.size},
            muls={
                pair(position.dtype.bits, steps.dtype.bits): steps.size,
                pair(rise.dtype.bits, FRACTION_BITS): out.size,
            },
            adds={PHASE_BITS: 2 * out.size, base.dtype.bits: 2 * out.size},
            shifts={base.dtype.bits: out.size},
            const_bits=steps.size_bits + base.size_bits + rise.size_bits,
            in_bits=position.size_bits,
            out_bits=out.size_bits,
        )
