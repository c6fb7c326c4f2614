"""Chords of a hollow function: within half their sag of it, above it and below it alike."""

from fractions import Fraction

import pytest

from cosim.ops.chords import chords

STARTS = [64, 80, 96, 112, 128]


def error(m: int, exact) -> Fraction:
    base, fall = chords(exact, STARTS)
    k = (m - STARTS[0]) // 16
    return Fraction(base[k]) - Fraction(fall[k] * (m - STARTS[k]), 16) - exact(m)


@pytest.mark.parametrize("power", [1, 2])
def test_errors_are_centred(power):
    def exact(m):
        return (1 << 60) // m**power

    for start in STARTS[:-1]:
        errors = [error(m, exact) for m in range(start, start + 16)]
        most, least = max(errors), min(errors)
        assert 0 < most < exact(start) * Fraction(1, 30)
        # Uncentred, the least would be 0 and the most twice as large.
        assert Fraction(4, 5) < most / -least < Fraction(5, 4)
