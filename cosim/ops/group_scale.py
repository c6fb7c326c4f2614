"""Choose a shared scale for each group of values, per token: the microscaling form.

Glossary:
    x  [..., K]        fixed-point values
    c  [..., ceil(K/g)] scale codes; c = (e << M) | f with M = `mantissa_bits`
    S(c) = (2^M + f) << e, the integer scale in LSBs of x; M = 0 gives powers of two only
    n  = 2^(bits-1) - 1, the largest code that `quantize` may give
The scale is the smallest S with S >= t, where t = ceil(max|x| * R / 2^16) and
R = round(2^16 * clip/16 * 2 / (2n + 1)). With clip = 16, max|x| / S passes n + 1/2 by no more than
R's own rounding, 2^(bits - 17) of it: at most the largest element saturates, and by one code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cosim.ir.numerics import Array, bit_length, namespace, shift_ceil
from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType, smallest_type
from cosim.ir.work import Work, pair

RATIO_BITS = 16
MOST_MANTISSA_BITS = 3


def decode_scale(code: Array, mantissa_bits: int) -> Array:
    """Return the integer scale S of a code.

    >>> import numpy as np
    >>> decode_scale(np.arange(6), 1).tolist()
    [2, 3, 4, 6, 8, 12]
    """
    mask = (1 << mantissa_bits) - 1
    return ((code & mask) + (1 << mantissa_bits)) << (code >> mantissa_bits)


def check_codes(
    op: Op, values: TensorType, codes: TensorType, group: int, mantissa_bits: int
) -> None:
    """Raise UserError unless `codes` are scale codes for groups of the last axis of `values`."""
    if group < 1 or not 0 <= mantissa_bits <= MOST_MANTISSA_BITS or not values.shape:
        raise op.refuse(
            f"group {group} and mantissa_bits {mantissa_bits} for {values}: need a vector, "
            f"group >= 1 and mantissa_bits 0..{MOST_MANTISSA_BITS}"
        )
    want = (*values.shape[:-1], -(-values.shape[-1] // group))
    if codes.shape != want or codes.lo < 0:
        raise op.refuse(f"expected codes {list(want)} >= 0 for {values}, got {codes}")


def code_bounds(codes: TensorType, mantissa_bits: int) -> tuple[int, int]:
    """Return the smallest and largest scale that codes of a type can mean."""

    def scale(code: int) -> int:
        mask = (1 << mantissa_bits) - 1
        return ((code & mask) + (1 << mantissa_bits)) << (code >> mantissa_bits)

    return scale(codes.lo), scale(codes.hi)


def expand_groups(x: Array, group: int, size: int) -> Array:
    """Repeat each element of the last axis `group` times and cut the axis to `size`."""
    xp = namespace(x)
    wide = xp.repeat(x, group, axis=-1)
    return wide[..., :size]


def group_max(x: Array, group: int) -> Array:
    """Return the largest element of each group of the last axis; the last may be shorter."""
    xp = namespace(x)
    size = x.shape[-1]
    count = -(-size // group)
    pad = count * group - size
    if pad:
        zeros = xp.zeros((*x.shape[:-1], pad), dtype=x.dtype, device=x.device)
        x = xp.concat([x, zeros], axis=-1)
    return xp.max(xp.reshape(x, (*x.shape[:-1], count, group)), axis=-1)


@dataclass(frozen=True)
class GroupScale(Op):
    """Give one scale code per group of the last axis; input x, out codes (unsigned)."""

    group: int
    bits: int
    mantissa_bits: int = 0
    clip: int = 16

    name: ClassVar[str] = "group_scale"

    @property
    def ratio(self) -> int:
        """Return R, the wanted scale per unit of the group's maximum, in 2^-16."""
        steps = (1 << self.bits) - 1
        return ((self.clip << (RATIO_BITS + 1)) + 8 * steps) // (16 * steps)

    def infer(self, inputs: Types) -> TensorType:
        """Bound the codes by the code of the largest input."""
        (x,) = inputs
        fits = 0 <= self.mantissa_bits <= MOST_MANTISSA_BITS
        if self.group < 1 or not 2 <= self.bits <= 16 or not fits:
            raise self.refuse(
                f"group {self.group}, bits {self.bits}, mantissa_bits "
                f"{self.mantissa_bits}: need group >= 1, 2..16 bits, 0..{MOST_MANTISSA_BITS}"
            )
        if not 8 <= self.clip <= 16 or not x.shape:
            raise self.refuse(f"clip {self.clip} must be 8..16 and the input {x} not a scalar")
        hi = _code_of(shift_ceil(x.peak * self.ratio, RATIO_BITS), self.mantissa_bits)
        groups = -(-x.shape[-1] // self.group)
        return TensorType(smallest_type(0, hi), (*x.shape[:-1], groups), 0, hi)

    def meaning(self, *inputs: Array) -> Array:
        """Find the group maximum, then the smallest code whose scale reaches t."""
        (x,) = inputs
        xp = namespace(x)
        top = group_max(xp.abs(x), self.group)
        t = shift_ceil(top * self.ratio, RATIO_BITS)
        t = xp.where(t < (1 << self.mantissa_bits), xp.ones_like(t) << self.mantissa_bits, t)
        e = bit_length(t) - (self.mantissa_bits + 1)
        s = shift_ceil(t, e)
        return (e << self.mantissa_bits) + s - (1 << self.mantissa_bits)

    def peak(self, inputs: Types) -> int:
        """Bound the product with the ratio."""
        return max(inputs[0].peak * self.ratio, 1 << RATIO_BITS)

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Compare every element; multiply by the ratio and count bits once per group."""
        (x,) = inputs
        return Work(
            compares={x.dtype.bits: x.size},
            muls={pair(x.dtype.bits, RATIO_BITS): out.size},
            shifts={x.dtype.bits: out.size},
            in_bits=x.size_bits,
            out_bits=out.size_bits,
        )


def _code_of(t: int, mantissa_bits: int) -> int:
    t = max(t, 1 << mantissa_bits)
    e = t.bit_length() - (mantissa_bits + 1)
    s = int(shift_ceil(t, e))
    return (e << mantissa_bits) + s - (1 << mantissa_bits)
