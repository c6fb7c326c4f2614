"""Lay golden vectors out as files that `$readmemh` reads: what goes in, what must come out, when.

`x.beats`   the beats of a stream, in order: of an output, those that are expected; of what a memory
            gives, a token's, or its words as they are at the start
`x.mask`    the bits of a token's beats that mean something
`x.cycles`  the cycle in which each beat of an output moves, where it is predicted
`x.gaps`    cycles from one beat of a memory's port to the next, over a token
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cosim.ir.errors import InternalError
from rtl.elaborate import Elaboration
from rtl.memory import Memory
from rtl.ports import Beats, inputs_of, outputs_of
from rtl.simulate import Turns

# What waits in the test bench for a beat of an output at most.
PATIENCE_CYCLES = 1_000_000


@dataclass(frozen=True, eq=False)
class Golden:
    """Hold a run of the reference: inputs and outputs [T, *shape] by the graph's names.

    `cycles` [T, beats] by port are what a model predicts, if there is one; `memory` is what the
    memory gives and takes over these tokens.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    cycles: Mapping[str, np.ndarray] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)

    @property
    def tokens(self) -> int:
        """Count the tokens."""
        return min(len(v) for v in self.inputs.values())


@dataclass(frozen=True)
class Source:
    """Describe a stream into the design: as many beats a token, over and over, and how they come.

    `paced`: they come with gaps, so many at most waiting, so long after they started. Where it
    `follows` a sink, its beats are a memory: what that sink takes are addresses in it (`looks_up`),
    or what is written to it, from its first word on and over and over; a word is read again when
    all the `block` words round it have been written.
    """

    name: str
    bits: int
    beats: int
    total: int
    paced: bool = False
    depth: int = 0
    latency: int = 0
    gaps: int = 0
    follows: str = ""
    block: int = 1
    looks_up: bool = False


@dataclass(frozen=True)
class Sink:
    """Describe a stream out of the design; `timed`: the cycles of its beats are predicted.

    `paced`: it is taken with gaps, as by a memory; `checked`: its beats are known.
    """

    name: str
    bits: int
    per_token: int
    total: int
    timed: bool = False
    paced: bool = False
    checked: bool = True


@dataclass(frozen=True, eq=False)
class Vectors:
    """Hold the streams of a run, and the files with what moves on them."""

    sources: tuple[Source, ...]
    sinks: tuple[Sink, ...]
    files: Mapping[str, str]
    turns: tuple[Turns, ...] = ()


def vectors(made: Elaboration, golden: Golden) -> Vectors:
    """Lay a golden run out as files."""
    sources: list[Source] = []
    sinks: list[Sink] = []
    files: dict[str, str] = {}
    for port in inputs_of(made.plans):
        beats = [b for row in golden.inputs[port.end] for b in port.pack(np.asarray(row))]
        sources.append(Source(port.name, port.bits, len(beats), len(beats)))
        files[f"{port.name}.beats"] = _hex(beats, port.bits)
    memory = golden.memory
    for name, feed in memory.feeds.items():
        bits, follows = memory.bits[name], feed.follows
        total = memory.drains[follows].count if follows else feed.own
        gaps = feed.intervals[: len(feed.beats)]
        sources.append(Source(
            name, bits, len(feed.beats), total, True, feed.depth or total, feed.latency, len(gaps),
            follows, feed.block, feed.looks_up,
        ))  # fmt: skip
        files[f"{name}.beats"] = _hex(feed.beats, bits)
        files[f"{name}.gaps"] = _hex(gaps, 32)
    for name, drain in memory.drains.items():
        each = drain.count // golden.tokens
        sinks.append(
            Sink(name, memory.bits[name], each, drain.count, paced=True, checked=False)
        )  # fmt: skip
        files[f"{name}.gaps"] = _hex(drain.intervals[:each], 32)
    for port in outputs_of(made.plans):
        timed = port.name in golden.cycles
        total = port.count * golden.tokens
        sinks.append(Sink(port.name, port.bits, port.count, total, timed))
        files[f"{port.name}.beats"] = _hex(expected(port, golden.outputs[port.end]), port.bits)
        files[f"{port.name}.mask"] = _hex([port.mask(k) for k in range(port.count)], port.bits)
        if timed:
            cycles = golden.cycles[port.name].reshape(-1).tolist()
            if len(cycles) != total:
                raise InternalError(f"{port.name}: {len(cycles)} cycles for {total} beats")
            files[f"{port.name}.cycles"] = _hex(cycles, 32)
    return Vectors(tuple(sources), tuple(sinks), files, memory.turns)


def expected(port: Beats, outputs: np.ndarray) -> list[int]:
    """Return the beats of a port that the outputs [T, *shape] of its end ask for."""
    there = port.wanted >= 0
    found = []
    for row in outputs.reshape(len(outputs), -1):
        value = np.zeros(port.elements.size, np.int64)
        value[port.wanted[there]] = row[there]
        found += port.pack(value)
    return found


def _hex(values: Iterable[int], bits: int) -> str:
    digits = -(-bits // 4)
    return "".join(f"{v:0{digits}x}\n" for v in values)
