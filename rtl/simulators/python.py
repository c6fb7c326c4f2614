"""Run a block in PyRTL's FastSimulation, cycle by cycle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyrtl

from rtl.netlist import Block
from rtl.simulators.setup import Feed, Setup, Trace, Turns, spread


@dataclass
class _Shared:
    """Hold whose turn it is at a port, and from when on it is free."""

    turns: Turns
    free_at: int = 0
    at: int = 0
    moved: int = 0

    def is_free(self, name: str, now: int) -> bool:
        """Tell whether it is a stream's turn, and the interval of the beat before is over."""
        return now >= self.free_at and self.turns.pairs[self.at][0] == name

    def move(self, free_at: int) -> None:
        """Note that a beat has moved."""
        self.free_at, self.moved = free_at, self.moved + 1
        if self.moved == self.turns.pairs[self.at][1]:
            self.at, self.moved = (self.at + 1) % len(self.turns.pairs), 0


@dataclass
class _Port:
    name: str
    gaps: list[int]
    free_at: int
    allowed: list[bool]
    shared: _Shared | None

    def is_free(self, now: int) -> bool:
        """Tell whether its interval is over, in a cycle that its pattern allows."""
        if self.shared is not None and not self.shared.is_free(self.name, now):
            return False
        return now >= self.free_at and self.allowed[now % len(self.allowed)]

    def move(self, now: int, number: int) -> None:
        """Note that a beat has moved: it starts its interval."""
        self.free_at = now + self.gaps[number % len(self.gaps)]
        if self.shared is not None:
            self.shared.move(self.free_at)


@dataclass
class _Feed(_Port):
    feed: Feed
    total: int
    offered: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)

    def word(self, number: int, drains: Mapping[str, _Drain]) -> int:
        """Return a beat: its own, over and over, or what the drain that it follows has taken."""
        own = self.feed
        if number < own.own:
            return own.beats[number % len(own.beats)]
        taken = drains[own.follows].beats[number - own.lag]
        if own.looks_up:
            return own.beats[taken] if taken < len(own.beats) else 0
        return taken

    def is_there(self, number: int, drains: Mapping[str, _Drain], now: int) -> bool:
        """Tell whether a beat is known."""
        own = self.feed
        if number < own.own:
            return True
        if number >= self.total or not own.follows:
            return False
        last = ((number - own.lag) // own.block + 1) * own.block - 1
        when = drains[own.follows].taken
        return last < len(when) and when[last] + own.later <= now


@dataclass
class _Drain(_Port):
    count: int
    beats: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)


def run(
    block: Block, setup: Setup, told: Callable[[Mapping[str, int]], None] | None = None
) -> Trace:
    """Return the trace of a block; raise UserError where a drain starves.

    `told` hears the value of every port in each cycle.
    """
    simulation = _simulation(block)
    ports = [_Shared(turns) for turns in setup.turns]
    shared = {name: port for port in ports for name in port.turns.streams}
    feeds = {
        n: _Feed(n, setup.gaps(n), f.first, list(f.allowed), shared.get(n), f, setup.total(n),
                 [0] * f.initial)
        for n, f in setup.feeds.items()
    }  # fmt: skip
    drains = {
        n: _Drain(n, spread(n, d.intervals, d.count), d.first, list(d.allowed), shared.get(n),
                  d.count)
        for n, d in setup.drains.items()
    }  # fmt: skip
    now = 0
    while any(len(d.beats) < d.count for d in drains.values()):
        if now == setup.limit_cycles:
            raise setup.starved({n: len(d.beats) for n, d in drains.items()})
        words = dict(setup.held)
        for name, feed in feeds.items():
            at = len(feed.taken)
            valid = at < len(feed.offered) and feed.offered[at] <= now
            words[f"{name}_valid"] = int(valid)
            words[f"{name}_data"] = feed.word(at, drains) if valid else 0
        for name, drain in drains.items():
            words[f"{name}_ready"] = int(len(drain.beats) < drain.count and drain.is_free(now))
        simulation.step(words)
        if told is not None:
            told({name: simulation.inspect(name) for name in setup.widths})
        for name, drain in drains.items():
            if words[f"{name}_ready"] and simulation.inspect(f"{name}_valid"):
                drain.move(now, len(drain.beats))
                drain.beats.append(simulation.inspect(f"{name}_data"))
                drain.taken.append(now)
        for name, feed in feeds.items():
            waiting, started = len(feed.offered) - len(feed.taken), len(feed.offered)
            room = waiting < (feed.feed.depth or feed.total)
            if feed.is_free(now) and room and feed.is_there(started, drains, now):
                feed.offered.append(now + feed.feed.latency)
                feed.move(now, started)
            if words[f"{name}_valid"] and simulation.inspect(f"{name}_ready"):
                feed.taken.append(now)
        now += 1
    cycles = {n: tuple(p.taken) for p_ in (feeds, drains) for n, p in p_.items()}
    return Trace({n: tuple(d.beats) for n, d in drains.items()}, cycles, now)


def _simulation(block: Block) -> pyrtl.FastSimulation:
    # It writes the masks of wide words as decimal text, which Python limits to 4300 digits.
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return pyrtl.FastSimulation(tracer=None, block=block)
    finally:
        sys.set_int_max_str_digits(most)
