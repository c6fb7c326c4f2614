"""Run a whole design token by token: feed its inputs and weights, read its outputs.

What the outside does is what the timed dataflow says of it (docs/design.md section 5): inputs wait
from the first cycle on, or come back from an output the cycle after it has gone out; weights come
when the memory's port serves them (`cosim/machine/service.py`); outputs are taken at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from cosim.design.plan import weights_of
from cosim.ir.errors import UserError
from cosim.machine import Machine
from rtl.elaborate import Elaboration
from rtl.export import Verilog
from rtl.netlist import Block
from rtl.ports import inputs_of, outputs_of
from rtl.simulate import Drain, Feed, Trace, simulate
from rtl.units.weights import streamed

# A simulation of more cycles a token than this is given up.
LIMIT_CYCLES_PER_TOKEN = 20_000_000
EVERY_CYCLE = (True,)


@dataclass(frozen=True, eq=False)
class Outside:
    """Hold the feeds and drains of a design's ports for a run of so many tokens."""

    feeds: Mapping[str, Feed]
    drains: Mapping[str, Drain]
    tokens: int


@dataclass(frozen=True, eq=False)
class Ran:
    """Hold what a run gave: outputs [tokens, size] by name, cycles [tokens, beats] by port."""

    outputs: Mapping[str, np.ndarray]
    cycles: Mapping[str, np.ndarray]
    total_cycles: int


def outside(
    made: Elaboration,
    inputs: Mapping[str, np.ndarray],
    tokens: int = 0,
    follows: Mapping[str, str] | None = None,
    weights: Mapping[str, Feed] | None = None,
    allowed: Mapping[str, tuple[bool, ...]] | None = None,
) -> Outside:
    """Lay out what a run of `tokens` tokens feeds and takes; 0: as many as the inputs have.

    `inputs` [T, *shape] by the graph's names; where an input `follows` an output, T tokens of its
    own are followed by what comes out. `weights` are a token's feeds by stream. `allowed` are the
    cycles, over and over, in which a port may move beats. Raise UserError for inputs that are not
    the graph's.
    """
    back, patterns = follows or {}, allowed or {}
    into = {p.end: p for p in inputs_of(made.plans)}
    out = outputs_of(made.plans)
    if set(into) != set(inputs):
        raise UserError(f"the design takes {sorted(into)}, given are {sorted(inputs)}")
    count = tokens or min(len(v) for v in inputs.values())
    feeds: dict[str, Feed] = {}
    for name, port in into.items():
        beats = [beat for row in inputs[name] for beat in port.pack(np.asarray(row, np.int64))]
        ports = [p.name for p in out if p.end == back.get(name)]
        if len(inputs[name]) < count and not ports:
            raise UserError(f"input {name!r} has {len(inputs[name])} of {count} tokens; give all")
        feeds[port.name] = Feed(
            beats, initial=len(beats), follows=ports[0] if ports else "",
            allowed=patterns.get(port.name, EVERY_CYCLE),
        )  # fmt: skip
    for name, feed in (weights or {}).items():
        feeds[made.names[name]] = replace(feed, rounds=count)
    drains = {
        p.name: Drain(p.count * count, allowed=patterns.get(p.name, EVERY_CYCLE)) for p in out
    }
    return Outside(feeds, drains, count)


def weight_feeds(made: Elaboration, machine: Machine) -> dict[str, Feed]:
    """Return the weights of a token as the memory's port brings them, by the stream's name.

    Raise UserError where one port serves several units in turn: each waits for the others then.
    """
    if len(made.weights) > 1:
        raise UserError(
            f"one port of the memory brings {', '.join(made.weights)} in turn, which the test "
            "bench cannot play; keep the weights on chip, or share one matrix unit"
        )
    found = {}
    for plan in made.plans.values():
        if plan.kind != "matrix" or not made.weights:
            continue
        ports = plan.folded.design.ports
        memory = next(m for m in machine.memories if m.name == ports.memory)
        port = machine.port(memory, Fraction(max(ports.weight_parts, 1), ports.parts))
        beats: list[int] = []
        gaps: list[int] = []
        for words in streamed(plan):
            pace, count = port.pace(words.bits), len(words)
            starts = pace.cycle(np.arange(count))
            gaps += np.diff(starts, append=pace.free(count)).tolist()
            beats += words.integers()
        found[weights_of(plan.unit)] = Feed(beats, gaps, ports.prefetch_beats, port.latency_cycles)
    return found


def run(
    made: Elaboration,
    design: Block | Verilog,
    around: Outside,
    simulator: str = "verilator",
    limit_cycles: int = 0,
) -> Ran:
    """Run a design as one block, or its Verilog; see `simulate` for what is raised.

    It is given up after `limit_cycles`; 0: after very many.
    """
    limit = limit_cycles or LIMIT_CYCLES_PER_TOKEN * around.tokens
    trace = simulate(design, around.feeds, around.drains, simulator, limit)
    return read(made, trace, around.tokens)


def read(made: Elaboration, trace: Trace, tokens: int) -> Ran:
    """Read the outputs and the cycles of a trace, token by token."""
    outputs: dict[str, np.ndarray] = {}
    cycles: dict[str, np.ndarray] = {}
    for port in outputs_of(made.plans):
        beats = trace.beats[port.name]
        cycles[port.name] = np.array(trace.cycles[port.name], np.int64).reshape(tokens, -1)
        whole = outputs.setdefault(port.end, np.zeros((tokens, port.wanted.size), np.int64))
        there = port.wanted >= 0
        for token in range(tokens):
            value = port.unpack(beats[token * port.count : (token + 1) * port.count])
            whole[token, there] = value[port.wanted[there]]
    return Ran(outputs, cycles, trace.total_cycles)
