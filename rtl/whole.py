"""Run a whole design token by token: feed its inputs and weights, read its outputs.

What the outside does is what the timed dataflow says of it (docs/design.md section 5): inputs wait
from the first cycle on, or come back from an output the cycle after it has gone out; what is off
chip comes and goes as the memory serves it (`rtl/memory.py`); outputs are taken at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cosim.ir.errors import UserError
from cosim.machine import Machine
from rtl.elaborate import Elaboration
from rtl.export import Verilog
from rtl.memory import memory_of
from rtl.netlist import Block
from rtl.ports import inputs_of, outputs_of
from rtl.simulate import Drain, Feed, Trace, Turns, simulate

# A simulation of more cycles a token than this is given up.
LIMIT_CYCLES_PER_TOKEN = 20_000_000
EVERY_CYCLE = (True,)


@dataclass(frozen=True, eq=False)
class Outside:
    """Hold the feeds and drains of a design's ports for a run of so many tokens."""

    feeds: Mapping[str, Feed]
    drains: Mapping[str, Drain]
    tokens: int
    turns: tuple[Turns, ...] = ()


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
    machine: Machine | None = None,
    allowed: Mapping[str, tuple[bool, ...]] | None = None,
) -> Outside:
    """Lay out what a run of `tokens` tokens feeds and takes; 0: as many as the inputs have.

    `inputs` [T, *shape] by the graph's names; where an input `follows` an output, T tokens of its
    own are followed by what comes out. `machine` has the memory of what is not on chip. `allowed`
    are the cycles, over and over, in which a port may move beats. Raise UserError for inputs that
    are not the graph's.
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
    drains = {
        p.name: Drain(p.count * count, allowed=patterns.get(p.name, EVERY_CYCLE)) for p in out
    }
    if machine is None:
        return Outside(feeds, drains, count)
    memory = memory_of(made, machine, count)
    return Outside({**feeds, **memory.feeds}, {**drains, **memory.drains}, count, memory.turns)


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
    trace = simulate(
        design, around.feeds, around.drains, simulator, limit, turns=around.turns
    )  # fmt: skip
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
