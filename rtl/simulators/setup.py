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
    the feed `follows` a drain, its own beats are followed by that drain's: beat n + `behind` is
    what the drain takes as its beat n, and starts in that cycle at the earliest, or, `later`, in
    the next one; upper bits are 0. Where `block` is more than 1, so many of the drain's beats are
    passed on together: none starts before the last of them is taken.

    Where it `looks_up`, its beats are words of a memory, at the addresses that the drain takes:
    beat n is the word at the drain's beat n.
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
    behind: int = 1
    block: int = 1
    later: bool = False
    looks_up: bool = False

    @property
    def own(self) -> int:
        """Count the beats that it has of its own."""
        return 0 if self.looks_up else len(self.beats) * self.rounds

    @property
    def lag(self) -> int:
        """Return how many beats later than the drain's a beat goes on."""
        return 0 if self.looks_up else self.behind


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
class Turns:
    """Let streams take turns, as at one port of a memory: (stream, beats) pairs, over and over.

    A beat of a feed starts, and one of a drain is taken, only in its stream's turn, and when the
    interval of the beat before it is over, whosesoever that was.
    """

    pairs: tuple[tuple[str, int], ...]

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the streams, in order of their first turn."""
        return tuple(dict.fromkeys(name for name, _ in self.pairs))


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
    turns: Sequence[Turns] = ()

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
        self._check_turns()
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
        if feed.looks_up and other <= 64:
            return
        if own < other or (own > 64 and own != other):
            raise UserError(
                f"stream {name!r} of {own} bits follows {feed.follows!r} of {other} bits; it takes "
                "as many bits, or more where it has at most 64"
            )
        if feed.own < feed.lag or feed.block < 1 or feed.behind < 1:
            raise UserError(
                f"stream {name!r} follows {feed.follows!r} {feed.behind} beats behind, in blocks "
                f"of {feed.block}, with {feed.own} beats of its own; give it those that come before"
            )

    def _check_turns(self) -> None:
        names = [name for turns in self.turns for name in turns.streams]
        known = {**self.feeds, **self.drains}
        for name in names:
            if names.count(name) > 1 or name not in known:
                raise UserError(f"stream {name!r} takes turns, but is not there, or at two ports")
        if any(beats < 1 for turns in self.turns for _, beats in turns.pairs):
            raise UserError("a turn of no beats cannot be played; leave it out")

    def total(self, feed: str) -> int:
        """Return how many beats a feed gives at most."""
        own = self.feeds[feed]
        if not own.follows:
            return own.own
        return max(own.own, self.drains[own.follows].count)

    def port(self, stream: str) -> int:
        """Return the number of the port at which a stream takes turns; -1: it has its own."""
        return next((k for k, t in enumerate(self.turns) if stream in t.streams), -1)

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
