"""Hold what a simulation is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cosim.ir.errors import UserError


@dataclass(frozen=True)
class Feed:
    """Give beats to an input stream.

    Beat n + 1 starts `intervals[n]` cycles after beat n at the earliest; one number counts for all.
    `depth` None: all beats may wait. Beats start only in cycles that `allowed` allows, which is
    played over and over from cycle 0 on; `first` is the cycle before which none starts.

    The first `initial` beats wait from cycle 0 on. The beats are given `rounds` times over. Where
    the feed `follows` a drain, its own beats are followed by that drain's: beat n + 1 is what the
    drain takes as its beat n, and starts in that cycle at the earliest; upper bits are 0.
    """

    beats: Sequence[int]
    intervals: Sequence[int] = (1,)
    depth: int | None = None
    latency: int = 1
    first: int = 0
    allowed: Sequence[bool] = (True,)
    initial: int = 0
    rounds: int = 1
    follows: str = ""

    @property
    def own(self) -> int:
        """Count the beats that it has of its own."""
        return len(self.beats) * self.rounds


@dataclass(frozen=True)
class Drain:
    """Take `count` beats of an output stream, beat n + 1 `intervals[n]` cycles after beat n.

    It is ready only in cycles that `allowed` allows, played over and over.
    """

    count: int
    intervals: Sequence[int] = (1,)
    first: int = 0
    allowed: Sequence[bool] = (True,)


@dataclass(frozen=True)
class Trace:
    """Hold the beats of each output, and the cycle in which each beat of each stream moved."""

    beats: Mapping[str, tuple[int, ...]]
    cycles: Mapping[str, tuple[int, ...]]
    total_cycles: int


class Starved(UserError):
    """Say that a stream has given `got` of `wanted` beats, and no more until the limit."""

    def __init__(self, stream: str, got: int, wanted: int, limit_cycles: int) -> None:
        """Make the sentence."""
        self.stream, self.got, self.wanted, self.limit_cycles = stream, got, wanted, limit_cycles
        super().__init__(
            f"stream {stream!r} has given {got} of {wanted} beats after {limit_cycles} cycles; "
            "feed it more beats, or allow more cycles"
        )


@dataclass(frozen=True)
class Setup:
    """Hold the feeds and drains by stream, constant inputs, and the width of each port."""

    feeds: Mapping[str, Feed]
    drains: Mapping[str, Drain]
    held: Mapping[str, int]
    limit_cycles: int
    widths: Mapping[str, int]

    def check(self, inputs: set[str]) -> None:
        """Raise UserError unless every input is driven, and every pattern can be played."""
        driven = {f"{n}_{p}" for n in self.feeds for p in ("data", "valid")}
        driven |= {f"{n}_ready" for n in self.drains} | set(self.held)
        wanted = driven | {f"{n}_ready" for n in self.feeds}
        wanted |= {f"{n}_{p}" for n in self.drains for p in ("data", "valid")}
        if absent := sorted(wanted - set(self.widths)):
            known = ", ".join(sorted(self.widths))
            raise UserError(f"no port {absent[0]!r}; the ports are {known}")
        if loose := sorted(inputs - driven):
            raise UserError(f"input {loose[0]!r} is not driven; feed its stream, or hold it")
        for name, feed in self.feeds.items():
            bits = self.widths[f"{name}_data"]
            if any(not 0 <= beat < 1 << bits for beat in feed.beats):
                raise UserError(f"stream {name!r} has {bits} bits; a beat given to it does not fit")
            if feed.latency < 1 or (feed.depth is not None and feed.depth < 1):
                raise UserError(f"stream {name!r}: latency and depth must be at least 1")
            if not 0 <= feed.initial <= feed.own or feed.rounds < 1:
                raise UserError(
                    f"stream {name!r}: {feed.initial} of {feed.own} beats wait at the start, given "
                    f"{feed.rounds} times; neither is possible"
                )
            if feed.follows:
                self._check_follows(name, feed)
            self.gaps(name)
        for name, drain in self.drains.items():
            spread(name, drain.intervals, drain.count)
        both: dict[str, Feed | Drain] = {**self.feeds, **self.drains}
        for name, port in both.items():
            if not any(port.allowed):
                raise UserError(
                    f"stream {name!r}: a pattern of {len(port.allowed)} cycles allows none of them"
                )

    def _check_follows(self, name: str, feed: Feed) -> None:
        if feed.follows not in self.drains or feed.rounds > 1:
            raise UserError(
                f"stream {name!r} follows {feed.follows!r}, given {feed.rounds} times; it can "
                f"follow a drain, with its own beats once: {', '.join(self.drains) or 'none'}"
            )
        own, other = (self.widths[f"{n}_data"] for n in (name, feed.follows))
        if own < other or own > 64:
            raise UserError(
                f"stream {name!r} of {own} bits follows {feed.follows!r} of {other} bits; it takes "
                "no more bits than it has, and at most 64"
            )

    def total(self, feed: str) -> int:
        """Return how many beats a feed gives at most."""
        own = self.feeds[feed]
        return max(own.own, self.drains[own.follows].count) if own.follows else own.own

    def gaps(self, feed: str) -> list[int]:
        """Return a feed's intervals: those of a round, or of all where it follows a drain."""
        own = self.feeds[feed]
        return spread(feed, own.intervals, self.total(feed) if own.follows else len(own.beats))

    def starved(self, got: Mapping[str, int]) -> Starved:
        """Make the error of a simulation that reached its limit."""
        name = next(n for n, d in self.drains.items() if got[n] < d.count)
        return Starved(name, got[name], self.drains[name].count, self.limit_cycles)


def spread(name: str, intervals: Sequence[int], count: int) -> list[int]:
    """Return one interval per beat; raise UserError where there are too few, or one is below 1."""
    if len(intervals) == 1:
        intervals = list(intervals) * count
    if len(intervals) < count or any(gap < 1 for gap in intervals):
        raise UserError(
            f"stream {name!r}: {len(intervals)} intervals for {count} beats; give one for each, or "
            "one for all, of at least one cycle"
        )
    return list(intervals[:count])
