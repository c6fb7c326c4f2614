"""Compile loops over numpy arrays to machine code that runs beside other threads.

The code is kept beside the source, or in the user's cache where that folder cannot be written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import int64, njit
from numba.core import cgutils
from numba.extending import intrinsic

# Sums in float64 that are exact in any order may be reordered, and fused with their products.
EXACT_FLOATS = frozenset({"reassoc", "contract", "nsz"})


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call, once for each combination of array types.

    The kept code is renewed when the function's own file changes, and only then: what an operator's
    file defines must come in as an argument.
    """
    kernel: Callable[..., Any] = njit(cache=True, nogil=True, fastmath=set(EXACT_FLOATS))(function)
    return kernel


@intrinsic
def _leading_zeros(_context: Any, _value: Any) -> Any:
    """Count the zero bits before the first one: numba and Python have no name for it."""

    def generate(_codegen_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], cgutils.false_bit)

    return int64(int64), generate


count_leading_zeros: Any = _leading_zeros


@compiled
def bit_length_of(value: int) -> int:
    """Return `int.bit_length` of an int64 >= 0.

    >>> [bit_length_of(v) for v in (0, 1, 2, 3, 255, 256, 2**62)]
    [0, 1, 2, 2, 8, 9, 63]
    """
    return 64 - count_leading_zeros(value)
