"""The rebuilt tables against what the released files hold (PKU-SEC-Lab/LightMamba, ref/tables).

Numbers are those of the files: the bounds, shifts and offsets whole, the long tables by some of
their entries, chosen where the two rules (left edge, ties to even) could be wrong.
"""

import numpy as np
import pytest

from quant.lower.lightmamba_tables import NORM_GATED, NORM_IN, released, root_table

SHIFTS = {
    "silu": [0] * 5 + [2, 5, 6, 7, 7] + [8] * 4 + [9] * 8 + [10] * 10,
    "softplus": [0] * 11 + [2, 4, 5, 6, 6] + [7] * 4 + [8] * 8 + [9] * 4,
    "exp": [0] * 20 + [1, 2, 4, 5, 7, 8, 10, 11, 12, 14, 15, 15],
}


@pytest.mark.parametrize("name", list(SHIFTS))
def test_the_shifts_are_the_released_ones(name):
    steps = released(name)
    assert steps.shifts.tolist() == SHIFTS[name]
    assert steps.codes.shape == (4096,)
    assert np.abs(steps.codes).max() <= 127


@pytest.mark.parametrize(
    ("name", "x", "code", "shift"),
    [
        ("exp", -1 / 1024, 64, 0), ("exp", 0, 32, 1), ("exp", 1 - 1 / 1024, 86, 1),
        ("exp", 2 - 1 / 1024, 117, 2), ("exp", 3 - 1 / 1024, 80, 4), ("exp", 10, 43, 15),
        ("exp", 11.5, 127, 15), ("exp", -20, 0, 0),
        ("softplus", -3 - 1 / 1024, 49, 0), ("softplus", -3, 12, 2),
        ("softplus", -1 - 1 / 1024, 79, 2),
        ("softplus", -1, 20, 4), ("softplus", 1 - 1 / 1024, 83, 4), ("softplus", 1, 42, 5),
        ("softplus", 3, 49, 6), ("softplus", 15.125, 61, 8), ("softplus", 20.125, 80, 8),
        ("softplus", 20.375, 82, 8), ("softplus", 38.999, 78, 9),
        ("silu", -5, -9, 2), ("silu", -1, -9, 5), ("silu", 3 - 1 / 1024, 90, 5),
        ("silu", -5.01, -33, 0), ("silu", 3, 46, 6), ("silu", 102.999, 103, 10),
    ],
)  # fmt: skip
def test_entries_are_the_released_ones(name, x, code, shift):
    steps = released(name)
    v = np.array([int(np.floor(x * 1024 + 1e-6))])
    place = np.clip((v - steps.op.start) >> steps.op.log2_step, 0, 4095)
    assert steps.codes[place].tolist() == [code]
    assert steps.op.meaning(v, steps.codes, steps.shifts).tolist() == [code << shift]


def test_exactly_eight_bins_below_zero_hold_a_decay_of_one():
    """v = -8..-1 LSBs, a decay of 0.992 to 1: the bin whose entry rounds up to 64 of 64."""
    steps = released("exp")
    found = steps.op.meaning(np.arange(-16, 0), steps.codes, steps.shifts)
    assert found.tolist() == [63] * 8 + [64] * 8


def test_the_norm_of_2560_is_the_released_one():
    roots = root_table(NORM_IN, 2560)
    assert roots.op.starts == (
        104, 10066434, 80530741, 644245199, 5153960860, 41231686146, 329853488437, 2638827906767,
    )  # fmt: skip
    assert roots.op.log2_steps == (15, 18, 21, 24, 27, 30, 33, 36)
    assert roots.op.lifts == (17, 9, 7, 6, 4, 3, 1, 0)
    assert roots.table[0, :13].tolist() == [158, 9, 6, 5, 4, 4, 4, 3, 3, 3, 3, 3, 3]
    assert roots.table[1, :12].tolist() == [
        131, 129, 127, 126, 124, 123, 121, 120, 119, 118, 116, 115,
    ]  # fmt: skip
    assert roots.table[2, :8].tolist() == [185, 182, 180, 178, 176, 174, 172, 170]
    assert roots.table[:, -1].tolist() == [0, 35, 49, 35, 49, 35, 49, 35]
    assert np.array_equal(roots.table[1], roots.table[7])


def test_the_norm_of_5120_is_the_released_one():
    roots = root_table(NORM_GATED, 5120)
    assert roots.op.starts == (
        1677721, 135895449, 1075419545, 8591612313, 68721154457, 549757491609, 4398048188825,
        35184373766553,
    )  # fmt: skip
    assert roots.op.log2_steps == (19, 21, 24, 27, 30, 33, 36, 39)
    assert roots.op.lifts == (12, 9, 8, 6, 5, 3, 2, 0)
    assert roots.table[0, :9].tolist() == [226, 198, 178, 163, 151, 141, 133, 127, 121]
    assert roots.table[1, :9].tolist() == [201, 200, 198, 197, 195, 194, 192, 191, 190]
    assert roots.table[3, 11:16].tolist() == [187, 186, 184, 183, 182]
    assert roots.table[5, 11:16].tolist() == [187, 186, 185, 183, 182]
    assert roots.table[:, -1].tolist() == [18, 67, 48, 68, 48, 68, 48, 68]


@pytest.mark.parametrize(("where", "size"), [(NORM_IN, 192), (NORM_GATED, 384), (NORM_IN, 768)])
def test_another_size_keeps_the_mean_squares(where, size):
    own, given = root_table(where, size), root_table(where, where.size)
    ratio = size / where.size
    assert np.allclose(np.array(own.op.starts[1:]) / given.op.starts[1:], ratio, rtol=1e-5)
    assert own.op.lifts == given.op.lifts
    for roots, n in ((own, size), (given, where.size)):  # a mean square of 4 has the root 1/2
        x = np.full(n, 2 << where.frac)
        y = roots.op.meaning(x, roots.table, np.full(n, 256))
        assert np.abs(y / (1 << where.frac) - 1).max() < 0.01
