"""Describe an off-chip memory: its channels, what they give, and how they give it.

Bandwidth is derived: channels x width x rate. The vendor's figure (`stated_gb_s`) is kept beside it
and must agree within `STATED_TOLERANCE`; nothing else is computed from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from cosim.machine.limits import Amount, Count, CountOrZero, Share

STATED_TOLERANCE = Fraction(1, 100)  # vendors print three digits


@dataclass(frozen=True)
class Memory:
    """Describe one off-chip memory, all its channels together, and what its controller takes.

    `rate_mt_s`: 10^6 transfers a second on each of a channel's `width_bits` data pins. `burst`:
    transfers that one request brings from a channel without a pause. `efficiency`: the share of
    the bandwidth that long sequential bursts reach, refresh and turnarounds off.
    """

    name: str
    technology: str
    channels: Count
    width_bits: Count
    rate_mt_s: Amount
    burst: Count
    stated_gb_s: Amount
    efficiency: Share
    latency_ns: Amount
    capacity_gb: Amount
    controller_luts: CountOrZero
    controller_ffs: CountOrZero
    controller_brams: CountOrZero

    @property
    def peak_mbit_s(self) -> Fraction:
        """Return what all channels transfer at most, in 10^6 bits a second, exactly."""
        return self.channels * self.width_bits * exact(self.rate_mt_s)

    @property
    def effective_mbit_s(self) -> Fraction:
        """Return what long sequential bursts reach, in 10^6 bits a second, exactly."""
        return self.peak_mbit_s * exact(self.efficiency)

    @property
    def bandwidth_gb_s(self) -> float:
        """Return what all channels transfer at most, in 10^9 bytes a second."""
        return float(self.peak_mbit_s / 8000)

    @property
    def effective_gb_s(self) -> float:
        """Return what long sequential bursts reach, in 10^9 bytes a second."""
        return float(self.effective_mbit_s / 8000)

    @property
    def burst_bits(self) -> int:
        """Return the bits that one request to every channel brings."""
        return self.channels * self.width_bits * self.burst

    def disagreement(self) -> str:
        """Return a sentence where the derived bandwidth is not the stated one, else nothing."""
        stated = exact(self.stated_gb_s) * 8000
        if abs(self.peak_mbit_s - stated) <= stated * STATED_TOLERANCE:
            return ""
        return (
            f"{self.channels} x {self.width_bits} bits at {self.rate_mt_s:g} MT/s give "
            f"{self.bandwidth_gb_s:.4g} GB/s, but stated_gb_s is {self.stated_gb_s:g}; mend one"
        )


@cache
def exact(value: float) -> Fraction:
    """Return the decimal that was written, not the binary nearest to it.

    >>> exact(0.85)
    Fraction(17, 20)
    """
    return Fraction(repr(value))
