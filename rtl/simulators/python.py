"""Run a block in PyRTL's FastSimulation, cycle by cycle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyrtl

from rtl.netlist import Block
from rtl.simulators.setup import Setup, Trace, spread


@dataclass
class _Port:
    gaps: list[int]
    free_at: int
    allowed: list[bool]

    def is_free(self, now: int) -> bool:
        """Tell whether its interval is over, in a cycle that its pattern allows."""
        return now >= self.free_at and self.allowed[now % len(self.allowed)]


@dataclass
class _Feed(_Port):
    words: list[int]
    depth: int
    latency: int
    total: int
    own: int
    follows: str
    offered: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)

    def word(self, number: int, drains: Mapping[str, _Drain]) -> int:
        """Return a beat: its own, over and over, or what the drain that it follows has taken."""
        if number < self.own:
            return self.words[number % len(self.words)]
        return drains[self.follows].beats[number - 1]

    def is_there(self, number: int, drains: Mapping[str, _Drain]) -> bool:
        """Tell whether a beat is known."""
        if number < self.own:
            return True
        return number < self.total and len(drains[self.follows].beats) >= number


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
    feeds = {
        n: _Feed(
            setup.gaps(n), f.first, list(f.allowed), list(f.beats), f.depth or setup.total(n),
            f.latency, setup.total(n), f.own, f.follows, [0] * f.initial,
        )
        for n, f in setup.feeds.items()
    }  # fmt: skip
    drains = {n: _Drain(spread(n, d.intervals, d.count), d.first, list(d.allowed), d.count)
              for n, d in setup.drains.items()}  # fmt: skip
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
                drain.free_at = now + drain.gaps[len(drain.beats)]
                drain.beats.append(simulation.inspect(f"{name}_data"))
                drain.taken.append(now)
        for name, feed in feeds.items():
            waiting, started = len(feed.offered) - len(feed.taken), len(feed.offered)
            if feed.is_free(now) and waiting < feed.depth and feed.is_there(started, drains):
                feed.offered.append(now + feed.latency)
                feed.free_at = now + feed.gaps[started % len(feed.gaps)]
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
