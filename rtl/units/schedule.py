"""Say what an actor does in which order: the runs of firings that its control follows.

Glossary:
    firing    one beat popped from each of `pops`, one pushed to each of `pushes`, at most
    interval  cycles from a firing to the next; a fraction gives the floor of its multiples, counted
              from the start of the run
    latency   cycles from a firing to the first in which its beats can be popped
    round     `before`, then `body` `loops` times, then `after`; and again from the start
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from cosim.ir.errors import InternalError

ONE = Fraction(1)


@dataclass(frozen=True)
class Firing:
    """Describe one kind of firing; `marks` are what the datapath is told besides."""

    pops: tuple[str, ...] = ()
    pushes: tuple[str, ...] = ()
    latency: int = 1
    interval: Fraction = ONE
    marks: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        """Check that time moves on."""
        if self.latency < 1 or self.interval < 1:
            raise InternalError(f"{self}: latency and interval must be at least one cycle")


Run = tuple[int, Firing]


@dataclass(frozen=True)
class Schedule:
    """Hold the runs of a round: (times, firing) pairs."""

    before: tuple[Run, ...] = ()
    body: tuple[Run, ...] = ()
    after: tuple[Run, ...] = ()
    loops: int = 1

    def __post_init__(self) -> None:
        """Check that something is done, and that each FIFO has one latency."""
        if not self.runs or any(times < 1 for times, _ in self.runs):
            raise InternalError("a schedule without firings, or with a run of none")
        if self.loops < 1:
            raise InternalError(f"a body that is done {self.loops} times")
        self.latencies()

    @property
    def runs(self) -> tuple[Run, ...]:
        """Return all runs, the body's once."""
        return (*self.before, *self.body, *self.after)

    @property
    def pops(self) -> tuple[str, ...]:
        """Return the FIFOs popped, in order of first use."""
        return tuple(dict.fromkeys(f for _, k in self.runs for f in k.pops))

    @property
    def pushes(self) -> tuple[str, ...]:
        """Return the FIFOs pushed, in order of first use."""
        return tuple(dict.fromkeys(f for _, k in self.runs for f in k.pushes))

    def latencies(self) -> Mapping[str, int]:
        """Return the latency of each FIFO pushed; raise InternalError where one has two."""
        found: dict[str, int] = {}
        for _, kind in self.runs:
            for name in kind.pushes:
                if found.setdefault(name, kind.latency) != kind.latency:
                    raise InternalError(
                        f"FIFO {name!r} is pushed with latencies {found[name]} and {kind.latency}; "
                        "its beats would overtake each other"
                    )
        return found

    def marks(self) -> Mapping[str, int]:
        """Return the width of each mark in bits."""
        found: dict[str, int] = {}
        for _, kind in self.runs:
            for name, value in kind.marks:
                found[name] = max(found.get(name, 1), value.bit_length())
        return found
