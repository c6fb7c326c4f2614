"""Round, shift and saturate: the only such arithmetic there is, on numpy and torch integers.

`rtl/numerics.py` is the twin of this file in wires: same names, same order.
Every function takes arrays of a signed integer type wide enough for the intermediate named in its
docstring; graph type inference proves that they are (`Op.peak`).

The ties of the default right shift go toward plus infinity:

>>> import numpy as np
>>> halves = np.array([-6, -5, -3, -2, -1, 1, 2, 3, 5, 6])
>>> shift_round(halves, 1).tolist()
[-3, -2, -1, -1, 0, 1, 1, 2, 3, 3]
>>> shift_floor(halves, 1).tolist()
[-3, -3, -2, -1, -1, 0, 1, 1, 2, 3]
>>> shift_round(np.array([-10, -6, -2, 2, 6, 10]), 2).tolist()
[-2, -1, 0, 1, 2, 3]
"""

from __future__ import annotations

from typing import Any, TypeAlias

import array_api_compat as aac
import numpy as np

from cosim.ir.types import IntType

# A numpy array or a torch tensor of integers; the two share no common base class.
Array: TypeAlias = Any


def namespace(x: Array) -> Any:
    """Return the array namespace (numpy or torch) of an array."""
    return np if isinstance(x, np.ndarray | np.generic) else aac.array_namespace(x)


def shift_left(x: Array, s: Array | int) -> Array:
    """Multiply by 2^s, s >= 0; the result must fit."""
    return x << s


def shift_floor(x: Array, s: Array | int) -> Array:
    """Divide by 2^s and round toward minus infinity.

    Only inside a table look-up whose own error is stated, or where an outside format demands it.
    """
    return x >> s


def shift_ceil(x: Array, s: Array | int) -> Array:
    """Divide by 2^s and round toward plus infinity; for scales, which must not be too small.

    >>> import numpy as np
    >>> shift_ceil(np.array([-3, -2, 0, 1, 2, 3]), 1).tolist()
    [-1, -1, 0, 1, 1, 2]
    """
    return -shift_floor(-x, s)


def shift_round(x: Array, s: Array | int) -> Array:
    """Divide by 2^s, s >= 0, and round half up; |x| + 2^(s-1) must fit."""
    if isinstance(s, int):
        return (x + ((1 << s) >> 1)) >> s
    xp = namespace(s)
    one, zero = xp.ones_like(s), xp.zeros_like(s)
    # Not (1 << s) >> 1: with s one less than the array's width, 1 << s is already negative.
    half = xp.where(s > 0, one << xp.maximum(s - 1, zero), zero)
    return (x + half) >> s


def shift_signed(x: Array, s: Array | int) -> Array:
    """Divide by 2^s rounding half up where s >= 0, multiply by 2^-s where s < 0.

    >>> import numpy as np
    >>> shift_signed(np.array([5, 5, 5]), np.array([1, 0, -2])).tolist()
    [3, 5, 20]
    """
    if isinstance(s, int):
        return shift_round(x, s) if s >= 0 else shift_left(x, -s)
    xp = namespace(s)
    zero = xp.zeros_like(s)
    return shift_round(shift_left(x, xp.maximum(-s, zero)), xp.maximum(s, zero))


def saturate(x: Array, dtype: IntType) -> Array:
    """Clip to the range of a type.

    >>> import numpy as np
    >>> saturate(np.array([-9, -8, 7, 8]), IntType(4, True)).tolist()
    [-8, -8, 7, 7]
    """
    return namespace(x).clip(x, dtype.lo, dtype.hi)


def bit_length(x: Array) -> Array:
    """Count the bits of x >= 0, as `int.bit_length` does; x < 2^62.

    >>> import numpy as np
    >>> bit_length(np.array([0, 1, 2, 3, 4, 255, 256])).tolist()
    [0, 1, 2, 2, 3, 8, 9]
    """
    xp = namespace(x)
    count = xp.zeros_like(x)
    width = xp.iinfo(x.dtype).bits
    # 2^step must be a positive number of this width.
    for step in (s for s in (32, 16, 8, 4, 2, 1) if s < width - 1):
        above = x >= (1 << step)
        count = count + xp.where(above, xp.full_like(x, step), xp.zeros_like(x))
        x = xp.where(above, x >> step, x)
    return count + xp.where(x > 0, xp.ones_like(x), xp.zeros_like(x))


def round_bounds(lo: int, hi: int, s: int) -> tuple[int, int]:
    """Return the bounds of `shift_signed` for one exact shift, in Python integers."""
    if s < 0:
        return lo << -s, hi << -s
    half = (1 << s) >> 1
    return (lo + half) >> s, (hi + half) >> s
