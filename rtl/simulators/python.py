"""Run a block in PyRTL's FastSimulation, cycle by cycle."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyrtl

from rtl.netlist import Block
from rtl.simulators.setup import Setup, Trace, spread


@dataclass
class _Feed:
    beats: list[int]
    gaps: list[int]
    depth: int
    latency: int
    free_at: int
    offered: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)


@dataclass
class _Drain:
    count: int
    gaps: list[int]
    free_at: int
    beats: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)


def run(block: Block, setup: Setup) -> Trace:
    """Return the trace of a block; raise UserError where a drain starves."""
    simulation = pyrtl.FastSimulation(tracer=None, block=block)
    feeds = {
        n: _Feed(list(f.beats), spread(n, f.intervals, len(f.beats)), f.depth or len(f.beats),
                 f.latency, f.first)
        for n, f in setup.feeds.items()
    }  # fmt: skip
    drains = {n: _Drain(d.count, spread(n, d.intervals, d.count), d.first)
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
            words[f"{name}_data"] = feed.beats[at] if valid else 0
        for name, drain in drains.items():
            words[f"{name}_ready"] = int(len(drain.beats) < drain.count and now >= drain.free_at)
        simulation.step(words)
        for name, feed in feeds.items():
            waiting, started = len(feed.offered) - len(feed.taken), len(feed.offered)
            if started < len(feed.beats) and now >= feed.free_at and waiting < feed.depth:
                feed.offered.append(now + feed.latency)
                feed.free_at = now + feed.gaps[started]
            if words[f"{name}_valid"] and simulation.inspect(f"{name}_ready"):
                feed.taken.append(now)
        for name, drain in drains.items():
            if words[f"{name}_ready"] and simulation.inspect(f"{name}_valid"):
                drain.free_at = now + drain.gaps[len(drain.beats)]
                drain.beats.append(simulation.inspect(f"{name}_data"))
                drain.taken.append(now)
        now += 1
    cycles = {n: tuple(p.taken) for p_ in (feeds, drains) for n, p in p_.items()}
    return Trace({n: tuple(d.beats) for n, d in drains.items()}, cycles, now)
