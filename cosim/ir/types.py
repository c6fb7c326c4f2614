"""Name integer types and tensors with proved bounds.

Glossary: `bits` counts the sign bit; `lo` and `hi` are the worst case that type inference proved
for every element. In a graph they lie inside the range of the declared type; `Op.infer` returns
them as they are before saturation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

import numpy as np

from cosim.ir.errors import InternalError, UserError

MAX_BITS = 63
_NAME = re.compile(r"([iu])([1-9][0-9]?)")


@dataclass(frozen=True, order=True)
class IntType:
    """Describe a two's-complement (`i8`) or unsigned (`u8`) integer of a declared width.

    >>> str(IntType(4, True)), IntType(4, True).lo, IntType(4, True).hi
    ('i4', -8, 7)
    >>> IntType.parse("u16").hi
    65535
    """

    bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        """Check the width; raise UserError outside 1 to 63 bits."""
        if not 1 <= self.bits <= MAX_BITS:
            raise UserError(
                f"integer type of {self.bits} bits: widths are 1 to {MAX_BITS} bits; choose one"
            )

    @classmethod
    def parse(cls, text: str) -> IntType:
        """Read `i8`, `u16`, ...; raise UserError for anything else."""
        match = _NAME.fullmatch(text)
        if match is None:
            raise UserError(f"integer type {text!r}: expected i or u and a width, such as i8")
        return cls(int(match[2]), match[1] == "i")

    @property
    def lo(self) -> int:
        """Return the smallest value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Return the largest value."""
        return (1 << (self.bits - 1 if self.signed else self.bits)) - 1

    def holds(self, lo: int, hi: int) -> bool:
        """Tell whether every integer from lo to hi fits."""
        return self.lo <= lo and hi <= self.hi

    def __str__(self) -> str:
        """Print as `i8` or `u8`."""
        return f"{'i' if self.signed else 'u'}{self.bits}"


def i(bits: int) -> IntType:
    """Make a signed type: `i(8)` prints as i8."""
    return IntType(bits, True)


def u(bits: int) -> IntType:
    """Make an unsigned type: `u(8)` prints as u8."""
    return IntType(bits, False)


def smallest_type(lo: int, hi: int) -> IntType:
    """Return the narrowest type that holds lo to hi; unsigned where lo >= 0.

    >>> str(smallest_type(0, 255)), str(smallest_type(-129, 0)), str(smallest_type(0, 0))
    ('u8', 'i9', 'u1')
    """
    return u(max(1, hi.bit_length())) if lo >= 0 else i(signed_bits(lo, hi))


def signed_bits(lo: int, hi: int) -> int:
    """Return the width of the narrowest signed type that holds lo to hi.

    >>> signed_bits(-128, 127), signed_bits(-129, -129), signed_bits(0, 128), signed_bits(0, 0)
    (8, 9, 9, 1)
    """
    return max((~lo).bit_length() if lo < 0 else 0, hi.bit_length() if hi > 0 else 0) + 1


@dataclass(frozen=True)
class TensorType:
    """Describe a tensor: declared type, shape without batch and time axes, proved bounds."""

    dtype: IntType
    shape: tuple[int, ...]
    lo: int
    hi: int

    def __post_init__(self) -> None:
        """Check the shape and the order of the bounds; raise UserError for an empty shape."""
        if any(size < 1 for size in self.shape):
            raise UserError(
                f"tensor of {self.dtype} and shape {list(self.shape)}: an axis without elements; "
                "every size must be at least 1"
            )
        if self.lo > self.hi:
            raise InternalError(f"tensor of {self.dtype}: bounds {self.lo}..{self.hi} are empty")

    @classmethod
    def full(cls, dtype: IntType, shape: tuple[int, ...]) -> TensorType:
        """Make a tensor whose elements may take every value of the type."""
        return cls(dtype, tuple(shape), dtype.lo, dtype.hi)

    @classmethod
    def of(cls, data: np.ndarray, dtype: IntType) -> TensorType:
        """Make the type of known data: its bounds are what is in it."""
        if data.dtype.kind not in "iu":
            raise InternalError(f"data of {data.dtype} are not integers; round them first")
        lo, hi = (int(data.min()), int(data.max())) if data.size else (0, 0)
        if not dtype.holds(lo, hi):
            raise InternalError(f"data from {lo} to {hi} does not fit {dtype}")
        return cls(dtype, tuple(data.shape), lo, hi)

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return prod(self.shape)

    @property
    def size_bits(self) -> int:
        """Return the storage of the declared width."""
        return self.size * self.dtype.bits

    @property
    def peak(self) -> int:
        """Return the largest magnitude."""
        return max(abs(self.lo), abs(self.hi))

    def __str__(self) -> str:
        """Print as `i8[3,64] in -128..127`."""
        dims = ",".join(map(str, self.shape))
        return f"{self.dtype}[{dims}] in {self.lo}..{self.hi}"
