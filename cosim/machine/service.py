"""Say when a port of the off-chip memory serves each beat: the pattern that model and wires share.

A port has a share of the memory's bandwidth. It asks for bursts; the beats of a burst come back to
back, one a cycle, and then the port pauses for as long as keeps the mean at its share exactly: the
pause stands for refresh, for turnarounds, and for the other ports' turns. A beat is what the
design takes at once. All is in whole cycles of the design's clock, and begins anew with each task.
A beat that waits for a place in its FIFO moves all that follow by as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np

Beat = TypeVar("Beat", int, np.ndarray)


def beat_cycle(beat: Beat, burst: int, over: int, under: int) -> Beat:
    """Return the cycle, from its task's first, in which a port serves beat number `beat`.

    Bursts of `burst` beats begin at the multiples of burst * over / under cycles, rounded up;
    over / under, at least 1, is the mean interval of beats. Whole numbers alone.

    >>> [beat_cycle(k, 4, 3, 2) for k in range(9)]
    [0, 1, 2, 3, 6, 7, 8, 9, 12]
    """
    within = beat % burst
    return -(-(beat - within) * over // under) + within


@dataclass(frozen=True)
class Pace:
    """Hold the pattern of one port for beats of one size: see `beat_cycle`."""

    burst: int
    over: int
    under: int

    def cycle(self, beat: Beat) -> Beat:
        """Return the cycle in which a beat is served."""
        return beat_cycle(beat, self.burst, self.over, self.under)

    def free(self, beats: int) -> int:
        """Return the cycle from which the port is free again after a task's beats."""
        return -(-beats * self.over // self.under)


@dataclass(frozen=True)
class Port:
    """Hold a share of a memory: its mean rate, its latency, and how much one request brings."""

    bits_per_cycle: Fraction
    latency_cycles: int
    burst_bits: Fraction

    def pace(self, beat_bits: int) -> Pace:
        """Return the pattern for beats of `beat_bits`; a burst is at least one beat.

        >>> Port(Fraction(400), 60, Fraction(4096)).pace(512)
        Pace(burst=8, over=32, under=25)
        """
        interval = max(Fraction(beat_bits) / self.bits_per_cycle, Fraction(1))
        burst = max(int(self.burst_bits / beat_bits), 1)
        return Pace(burst, interval.numerator, interval.denominator)
