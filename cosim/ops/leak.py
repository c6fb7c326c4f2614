"""Let a potential leak: y = sign(x) * floor(|x| * m / 2^s), toward zero, and saturate.

Neurons of the Loihi family leak so (Lava netx: m = 4096 - decay, s = 12), and no rounding half up
can stand for it: toward zero, a potential of either sign always comes to rest at 0. The default
leak of this project is `rescale`, which rounds half up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, namespace, shift_floor
from cosim.ir.op import Op, Types, largest, product_bounds, same_rank
from cosim.ir.types import MAX_BITS, IntType, TensorType
from cosim.ir.work import Work, pair


@dataclass(frozen=True)
class Leak(Op):
    """Scale x by m / 2^shift toward zero; inputs x and constant m >= 0, broadcast; out dtype."""

    shift: int
    dtype: IntType

    name: ClassVar[str] = "leak"
    saturates: ClassVar[bool] = True

    def infer(self, inputs: Types) -> TensorType:
        """Scale the bounds."""
        x, m = inputs
        if not 0 <= self.shift <= MAX_BITS:
            raise self.refuse(f"shift is {self.shift}, must be 0..{MAX_BITS}")
        if m.lo < 0:
            raise self.refuse(f"the factor is {m}, must not be negative")
        lo, hi = (-(-b >> self.shift) if b < 0 else b >> self.shift for b in product_bounds(x, m))
        return TensorType(self.dtype, same_rank(self, inputs), lo, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Shift the magnitude down, then give it its sign."""
        x, m = inputs
        xp = namespace(x)
        kept = shift_floor(xp.abs(x) * m, self.shift)
        return xp.where(x < 0, -kept, kept)

    def peak(self, inputs: Types) -> int:
        """Bound the product."""
        x, m = inputs
        return max(x.peak * m.peak, largest(inputs))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Multiply; a magnitude and a sign are an addition each; compare with the ends."""
        x, m = inputs
        wide = x.dtype.bits + m.dtype.bits
        return Work(
            muls={pair(x.dtype.bits, m.dtype.bits): out.size},
            adds={x.dtype.bits: 2 * out.size},
            compares={wide: out.size},
            const_bits=m.size_bits,
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )
