"""Play the machine's memory at the ports of a design, beat for beat as the timed dataflow says.

The memory has three ports (`cosim/machine/service.py` says in which cycles each serves). One brings
the rows of the embedding and then every linear task's weights, in the Design's static order, each
unit's by a stream of its own; where a unit's FIFO is full, all wait. The second reads states, the
third writes them: a layer's are read once they have been written a token ago. Before the first
token there is noise in their place, which must not matter.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from cosim.design.plan import STATE_FIFOS, weights_of
from cosim.design.shapes import state_bits
from cosim.ir.errors import UserError
from cosim.machine import Machine, Port
from rtl.elaborate import Elaboration
from rtl.simulate import Drain, Feed, Turns
from rtl.units.kept import streams_of
from rtl.units.memory import ASK, LEAST_LATENCY, ROW, fetched_bits, memory_words, steps_of
from rtl.units.plan import UnitPlan
from rtl.units.rows import laid
from rtl.units.weights import streamed

STATE_IN, STATE_OUT = STATE_FIFOS
NOISE_SEED = 4


@dataclass(frozen=True, eq=False)
class Memory:
    """Hold what the memory feeds and takes over a run, by port of the design, and whose turn it is.

    `bits` are those of each port's beats.
    """

    feeds: Mapping[str, Feed] = field(default_factory=dict)
    drains: Mapping[str, Drain] = field(default_factory=dict)
    turns: tuple[Turns, ...] = ()
    bits: Mapping[str, int] = field(default_factory=dict)


def memory_of(made: Elaboration, machine: Machine, tokens: int) -> Memory:
    """Return what the memory does over some tokens; nothing where all is on chip."""
    feeds: dict[str, Feed] = {}
    drains: dict[str, Drain] = {}
    streams: dict[str, list[int]] = {}
    for name, feed, counts in _weights(made, machine):
        feeds[made.names[name]], streams[made.names[name]] = replace(feed, rounds=tokens), counts
    bits_of = {made.names[name]: bits for name, bits in made.off_chip.items()}
    for plan in made.plans.values():
        if bits := fetched_bits(plan):
            feeds[made.names[ROW]] = _rows(made, plan, machine)
            gaps = _gaps(_port(made, machine, "weights"), bits, steps_of(plan))
            drains[made.names[ASK]] = Drain(len(gaps) * tokens, gaps * tokens)
            streams[made.names[ASK]] = [len(gaps)]
        if streams_of(plan):
            feed, drain = _states(made, plan, machine, tokens)
            feeds[made.names[STATE_IN]], drains[made.names[STATE_OUT]] = feed, drain
    return Memory(feeds, drains, _turns(made, streams), bits_of)


def _turns(made: Elaboration, streams: Mapping[str, list[int]]) -> tuple[Turns, ...]:
    """Return the turns at the port of weights and embedding, where several streams share it."""
    if len(streams) < 2:
        return ()
    left = {name: iter(counts) for name, counts in streams.items()}
    layout = next(iter(made.plans.values())).folded.layout
    pairs: list[tuple[str, int]] = []
    for part, turns in (("before", 1), ("block", layout.layers), ("after", 1)):
        units = [made.plans[t.unit] for t in layout.tasks if t.part == part]
        own = [_stream(made, plan) for plan in units if plan.kind in {"matrix", "memory"}]
        for name in [n for n in own if n in streams] * turns:
            count = next(left[name])
            if pairs and pairs[-1][0] == name:
                count += pairs.pop()[1]
            pairs.append((name, count))
    return (Turns(tuple(pairs)),)


def _stream(made: Elaboration, plan: UnitPlan) -> str:
    name = weights_of(plan.unit) if plan.kind == "matrix" else ASK
    return made.names.get(name, "")


def _port(made: Elaboration, machine: Machine, what: str) -> Port:
    ports = next(iter(made.plans.values())).folded.design.ports
    source = next(m for m in machine.memories if m.name == ports.memory)
    parts = ports.weight_parts if what == "weights" else ports.state_parts
    return machine.port(source, Fraction(max(parts, 1), ports.parts))


def _gaps(port: Port, bits: int, count: int) -> list[int]:
    """Return the cycles from each of a task's beats to the next, and from its last to what follows.

    >>> _gaps(Port(Fraction(2), 60, Fraction(4)), 3, 3)
    [2, 1, 2]
    """
    pace = port.pace(bits)
    gaps: list[int] = np.diff(pace.cycle(np.arange(count)), append=pace.free(count)).tolist()
    return gaps


def _weights(made: Elaboration, machine: Machine) -> Iterator[tuple[str, Feed, list[int]]]:
    """Give the weights of a token by stream, and the beats of each task in order."""
    for plan in made.plans.values():
        if plan.kind != "matrix" or not made.weights:
            continue
        port = _port(made, machine, "weights")
        beats: list[int] = []
        gaps: list[int] = []
        counts: list[int] = []
        for words in streamed(plan):
            gaps += _gaps(port, words.bits, len(words))
            beats += words.integers()
            counts.append(len(words))
        depth = plan.folded.design.ports.prefetch_beats
        yield weights_of(plan.unit), Feed(beats, gaps, depth, port.latency_cycles), counts


def _rows(made: Elaboration, plan: UnitPlan, machine: Machine) -> Feed:
    """Return the embedding as a memory that is asked for its words."""
    latency = _port(made, machine, "weights").latency_cycles
    if latency < LEAST_LATENCY:
        raise UserError(
            f"machine {machine.name}: its memory answers in {latency} cycles of the design's "
            f"clock; an embedding off chip needs {LEAST_LATENCY}: keep it on chip, or raise it"
        )
    # The unit puts an answer into its FIFO in the cycle of its arrival.
    return Feed(memory_words(plan), latency=latency - 1, follows=made.names[ASK], looks_up=True)


def _states(made: Elaboration, plan: UnitPlan, machine: Machine, tokens: int) -> tuple[Feed, Drain]:
    """Return the states that come in, what has gone out a token before, and that go out."""
    streams, own = streams_of(plan), laid(plan)
    assert streams is not None
    port, rounds = _port(made, machine, "states"), own.turns * tokens
    # The last step may hold fewer elements; the memory moves what there is.
    bits = state_bits(plan.folded.skeleton, own.job.task) // own.steps
    gaps = _gaps(port, bits, own.steps)
    words = own.steps * own.turns
    noise = random.Random(NOISE_SEED)
    feed = Feed(
        [noise.getrandbits(streams.bits) for _ in range(words)], gaps * rounds, streams.places_in,
        port.latency_cycles, follows=made.names[STATE_OUT], behind=words, block=own.steps,
        later=True,
    )  # fmt: skip
    return feed, Drain(words * tokens, gaps * rounds)
