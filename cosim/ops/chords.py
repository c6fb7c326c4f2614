"""Cut a function into chords: what look-ups with one multiplication read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise


def chords(exact: Callable[[int], int], starts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return base and fall of each segment between two starts of a falling, hollow function.

    >>> chords(lambda m: (1 << 20) // m, [16, 32, 64])
    ([62805, 31403], [32768, 16384])
    """
    ends = [exact(m) for m in starts]
    # Half the sag of the chord is moved out of it: the error is then centred.
    sag = [
        (a + b - 2 * exact((m + n) // 2)) // 4
        for (a, b), (m, n) in zip(pairwise(ends), pairwise(starts), strict=True)
    ]
    base = [e - s for e, s in zip(ends[:-1], sag, strict=True)]
    return base, [a - b for a, b in pairwise(ends)]
