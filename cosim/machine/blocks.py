"""Count the memory blocks that a memory of a width and depth takes, in the shapes they really have.

A memory is cut into slices side by side, and each slice is a cascade of blocks of one shape, as
synthesis builds it; the slices' shapes are chosen so that the blocks are fewest, exactly. A BRAM
counts as two halves of 18 Kib, which work apart: 36 Kib at 512 x 72 is two of 512 x 36.
Sources: AMD UG573 (UltraScale+), UG473 (7 series), UG1273 (Versal: no BRAM below 9 bits, a URAM in
four shapes).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations

from cosim.machine.board import Family

Shapes = tuple[tuple[int, int], ...]  # (depth in words, width in bits), widest first

HALF_BRAM: Shapes = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
HALF_BRAM_OF: Mapping[Family, Shapes] = {
    "7series": HALF_BRAM,
    "ultrascale+": HALF_BRAM,
    "versal": HALF_BRAM[:3],
    "asic": HALF_BRAM[:1],  # assumed: a memory macro has one shape
}
ONE_URAM: Shapes = ((4096, 72),)
URAM_OF: Mapping[Family, Shapes] = {
    "7series": ONE_URAM,  # there are none; the count is never asked for
    "ultrascale+": ONE_URAM,
    "versal": ((4096, 72), (8192, 36), (16384, 18), (32768, 9)),
    "asic": ONE_URAM,
}


def bram_blocks(width_bits: int, depth: int, family: Family = "ultrascale+") -> int:
    """Return the fewest BRAMs of 36 Kib; an odd half leaves the other one free, but is a BRAM.

    >>> bram_blocks(72, 512), bram_blocks(36, 512), bram_blocks(16, 2048), bram_blocks(1, 32768)
    (1, 1, 1, 1)
    """
    return -(-fewest(width_bits, depth, HALF_BRAM_OF[family]) // 2)


def uram_blocks(width_bits: int, depth: int, family: Family = "ultrascale+") -> int:
    """Return the fewest URAMs of 288 Kib.

    >>> uram_blocks(144, 16384), uram_blocks(9, 32768), uram_blocks(9, 32768, "versal")
    (8, 8, 1)
    """
    return fewest(width_bits, depth, URAM_OF[family])


@lru_cache(maxsize=65536)
def fewest(width_bits: int, depth: int, shapes: Shapes) -> int:
    """Return the fewest blocks for a memory of `width_bits` x `depth`, 0 where it is empty.

    Each shape is at least twice as wide as the next and half as deep. Two slices of the next are
    then never fewer blocks than one slice of it, so that some best cut has each narrower shape at
    most once: all such choices are tried, with as many of the widest as cover the rest.
    """
    if width_bits < 1 or depth < 1:
        return 0
    (words, widest), counts = shapes[0], []
    for chosen in _choices(shapes[1:]):
        rest = max(width_bits - sum(width for _, width in chosen), 0)
        narrow = sum(-(-depth // deep) for deep, _ in chosen)
        counts.append(narrow + -(-rest // widest) * -(-depth // words))
    return min(counts)


@lru_cache(maxsize=16)
def _choices(shapes: Shapes) -> tuple[Shapes, ...]:
    """Return every choice of some of the shapes."""
    return tuple(c for n in range(len(shapes) + 1) for c in combinations(shapes, n))
