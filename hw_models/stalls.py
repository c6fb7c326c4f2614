"""Say which unit waits at which FIFO, for whom, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hw_models.dataflow import Timing

Cause = Literal["input", "room"]


@dataclass(frozen=True)
class StallRow:
    """Hold for how many cycles of a token `unit` waits at `fifo` for `other`'s beat or place.

    A firing that waits at several FIFOs counts at the one that lets it go last.
    """

    unit: str
    cause: Cause
    fifo: str
    other: str
    cycles: float


def stall_rows(parts: Iterable[tuple[Timing, float, int | None]]) -> tuple[StallRow, ...]:
    """Return all waits, longest first; each timing with a round's share of a token, and which."""
    total: dict[tuple[str, Cause, str, str], float] = {}
    for timing, part, turn in parts:
        for fifo in timing.network.channels:
            maker, taker = timing.network.ends(fifo)
            waits: tuple[tuple[tuple[str, Cause, str, str], int], ...] = (
                ((taker, "input", fifo, maker), timing.starved(fifo, turn)),
                ((maker, "room", fifo, taker), timing.blocked(fifo, turn)),
            )
            for key, cycles in waits:
                total[key] = total.get(key, 0.0) + cycles * part
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return tuple(StallRow(*key, cycles) for key, cycles in ranked if cycles > 0)
