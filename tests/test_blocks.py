"""Memory blocks are as few as the shapes allow: against tables, a slow search and another tool."""

import random
from fractions import Fraction

import pytest

from cosim.machine.blocks import (
    HALF_BRAM,
    HALF_BRAM_OF,
    ONE_URAM,
    URAM_OF,
    bram_blocks,
    fewest,
    uram_blocks,
)

SHAPES = sorted({*HALF_BRAM_OF.values(), *URAM_OF.values()})


def slow(width, depth, shapes):
    """Try every multiset of slices: the best for w bits is one slice and the best for the rest."""
    best = [0]
    for w in range(1, width + 1):
        best.append(min(-(-depth // d) + best[max(w - s, 0)] for d, s in shapes))
    return best[width]


@pytest.mark.parametrize("shapes", SHAPES)
def test_no_set_of_slices_is_smaller(shapes):
    depths = random.Random(1).sample(range(1, 70_000), 40)
    for depth in (1, 512, 513, 1024, 1025, 4096, 4097, *depths):
        for width in (*range(1, 80), 127, 200):
            assert fewest(width, depth, shapes) == slow(width, depth, shapes), (width, depth)


@pytest.mark.parametrize(
    ("width", "depth"),
    [(72, 512), (36, 1024), (18, 2048), (9, 4096), (4, 8192), (2, 16384), (1, 32768)],
)
def test_a_bram_has_seven_shapes(width, depth):
    """AMD UG573, table 1-1; one word more, or one bit more, is another half at least."""
    assert bram_blocks(width, depth) == 1
    assert fewest(width, depth, HALF_BRAM) == 2
    assert fewest(width, depth + 1, HALF_BRAM) > 2
    assert fewest(width + 1, depth, HALF_BRAM) > 2
    assert 1 in (fewest(width // 2, depth, HALF_BRAM), fewest(width, depth // 2, HALF_BRAM))


def test_a_synthesiser_counts_the_same():
    """Yosys 0.70, synth_xilinx -family xcup [-uram]: the counts of its map of three memories."""
    assert bram_blocks(32, 1024) == 1
    assert (bram_blocks(72, 4096), uram_blocks(72, 4096)) == (8, 1)
    assert (bram_blocks(144, 16384), uram_blocks(144, 16384)) == (64, 8)


def test_an_odd_half_is_a_bram():
    assert bram_blocks(36, 512) == bram_blocks(18, 1024) == 1
    assert bram_blocks(37, 512) == 1, "36 bits in one half, one bit in the other"
    assert bram_blocks(73, 512) == 2


def test_versal_has_no_bram_below_nine_bits_and_a_uram_in_four_shapes():
    """AMD UG1273."""
    assert bram_blocks(1, 4096, "versal") == bram_blocks(9, 4096, "versal") == 1
    assert bram_blocks(1, 32768, "versal") == 8
    for width, depth in ((72, 4096), (36, 8192), (18, 16384), (9, 32768)):
        assert uram_blocks(width, depth, "versal") == 1
        assert uram_blocks(width, depth) == depth // 4096


def test_blocks_hold_at_least_the_bits_and_more_memory_is_never_fewer():
    chance = random.Random(2)
    for _ in range(500):
        width, depth = chance.randrange(1, 300), chance.randrange(1, 40_000)
        for shapes, bits in ((HALF_BRAM, 18 * 1024), (ONE_URAM, 288 * 1024)):
            count = fewest(width, depth, shapes)
            assert count >= Fraction(width * depth, bits)
            assert fewest(width + 1, depth, shapes) >= count
            assert fewest(width, depth + 1, shapes) >= count


def test_nothing_takes_nothing():
    assert bram_blocks(0, 5) == uram_blocks(5, 0) == 0
