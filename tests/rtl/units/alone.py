"""Run one unit alone: its tasks on drawn operands, under gaps and stalls, against the model.

The operands are drawn in the declared bounds, not taken from a run: so all corners come up. The
expected beats are the operators' own meaning; the expected cycles are those of the model's actor
between a source and a sink per FIFO, played cycle by cycle.
"""

import random
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from cosim.design.streams import TaskStream
from cosim.ir.numerics import saturate
from hw_models import network as times
from hw_models.units import hadamard, matrix, norm
from rtl.simulate import Drain, Feed, simulate
from rtl.units.unit import unit_ports
from rtl.units.weights import in_order, shape_of
from tests.hw_models.oracle import firings_of, play

PROGRAMS = {
    "norm": lambda plan, job, _: norm.program(job.flow, plan.unit),
    "hadamard": lambda plan, job, _: hadamard.program(job.flow, plan.unit),
    "matrix": lambda plan, job, streamed: matrix.program(
        job.flow, plan.unit, shape_of(plan, job), streamed
    ),
}


def draw(rng, type_, size, how):
    """Draw values of a type: at random, all at one end, or each at either end."""
    if how == "random":
        return rng.integers(type_.lo, type_.hi, size, endpoint=True)
    if how in {"lo", "hi"}:
        return np.full(size, type_.lo if how == "lo" else type_.hi, np.int64)
    if how == "zero":
        return np.full(size, min(max(0, type_.lo), type_.hi), np.int64)
    return np.where(rng.integers(0, 2, size) == 1, type_.hi, type_.lo)


def type_for(folded, job, root):
    """Return the type of a root as a job sees it: behind the layers only the last one's."""
    carry = folded.skeleton.sketch.carries.get(root)
    return folded.type(carry.block if carry and job.task.part == "after" else root)


def operand(folded, name, roots):
    """Put an operand together from the roots that it is wired from."""
    view, type_ = folded.skeleton.views[name], folded.skeleton.sketch.types[name]
    if view.element is None:
        return roots[view.roots[0]].reshape(type_.shape)
    number = np.zeros(type_.size, np.int64) if view.root is None else view.root
    flat = [roots[view.roots[n]][e] for n, e in zip(number, view.element, strict=True)]
    return np.array(flat).reshape(type_.shape)


def beats_of(rng, folded, fifo, job_flow, values):
    """Return the beats of a FIFO that carry a root's values, each with a mask of what counts."""
    skeleton = folded.skeleton
    maker, bits = skeleton.task(fifo.maker), folded.type(fifo.value).dtype.bits
    emitted = values[TaskStream.of(skeleton, maker).emission(fifo.value)]
    carried = job_flow.passage(fifo).carried(fifo.beat)
    found = []
    for number, start in enumerate(range(0, emitted.size, fifo.beat)):
        if not carried[number]:
            continue
        own = emitted[start : start + fifo.beat]
        mask = (1 << (own.size * bits)) - 1
        word = sum((int(v) & ((1 << bits) - 1)) << (k * bits) for k, v in enumerate(own))
        noise = rng.integers(0, 256, -(-fifo.width_bits // 8) + 1, dtype=np.uint8).tobytes()
        above = int.from_bytes(noise, "little") & ((1 << fifo.width_bits) - 1) & ~mask
        found.append((word | above, mask))
    return found


@dataclass
class Case:
    """Hold what goes into a unit and what must come out of it."""

    feeds: dict
    drains: dict
    expected: dict
    network: times.Network
    ports: dict


def case_of(plan, streamed, weights, seed, how="random", rounds=2, calm=False):
    """Draw operands, gaps and stalls for some rounds of a unit."""
    rng, chance = np.random.default_rng(seed), random.Random(seed)
    into = {f.name: [] for f in plan.into}
    out = {f.name: [] for f in plan.out}
    folded = plan.folded
    for _ in range(rounds):
        for job, turn in in_order(plan):
            (name,) = job.task.nodes
            inputs = folded.skeleton.sketch.node(name).inputs
            roots = {}
            for fifo in job.into:
                type_ = type_for(folded, job, fifo.value)
                roots[fifo.value] = draw(rng, type_, type_.size, how)
                into[fifo.name] += beats_of(rng, folded, fifo, job.flow, roots[fifo.value])
            op = folded.ops(name)[turn if len(folded.names(name)) > 1 else 0]
            operands = []
            for k, n in enumerate(inputs):
                if n in folded.skeleton.sketch.stored:
                    every = folded.constants(name, k)
                    operands.append(every[turn if len(every) > 1 else 0])
                else:
                    operands.append(operand(folded, n, roots))
            result = op.meaning(*operands)
            type_ = folded.type(name)
            if op.saturates:
                result = saturate(result, type_.dtype)
            for fifo in job.out:
                out[fifo.name] += beats_of(rng, folded, fifo, job.flow,
                                           result.reshape(-1))  # fmt: skip
    beats = {n: [w for w, _ in b] for n, b in into.items()}
    if weights is not None:
        beats[weights[0]] = weights[1] * rounds

    def gaps(count):
        return [1] if calm else [chance.choice([1, 1, chance.randint(1, 4)]) for _ in range(count)]

    def pattern():
        if calm:
            return [True]
        return [True, *(chance.random() < 0.6 for _ in range(chance.choice([0, 0, 3, 11])))]

    feeds, drains = {}, {}
    for n, b in beats.items():
        depth = None if calm else chance.choice([None, 1, 3])
        feeds[n] = Feed(
            b, gaps(len(b)), depth, 1 if calm else chance.randint(1, 4), allowed=pattern()
        )
    for n, b in out.items():
        drains[n] = Drain(len(b), gaps(len(b)), allowed=pattern())
    programs = {"before": [], "block": [], "after": []}
    for job in plan.jobs:
        programs[job.task.part].append(PROGRAMS[plan.kind](plan, job, streamed))
    before, body, after = (times.Program.join(p) for p in programs.values())
    whole = times.Program.join([before, *[body] * plan.turns, after] * rounds)
    ports = unit_ports(plan, list(beats)[len(into) :])
    return Case(feeds, drains, out, _network(plan, whole, feeds, drains), ports)


def _network(plan, whole, feeds, drains):
    actors = [times.Actor("dut", whole)]
    channels = {f.name: times.Channel(f.depth) for f in plan.out}
    for n, f in feeds.items():
        channels[n] = times.Channel(f.depth or max(len(f.beats), 1))
        every = list(f.intervals) * (len(f.beats) if len(f.intervals) == 1 else 1)
        runs = [(1, times.Firing((), (n,), f.latency, Fraction(gap))) for gap in every]
        actors.append(times.Actor(f"feed {n}", times.Program.of(*runs),
                                  pattern=times.Pattern(tuple(f.allowed))))  # fmt: skip
    for n, d in drains.items():
        every = list(d.intervals) * (d.count if len(d.intervals) == 1 else 1)
        runs = [(1, times.Firing((n,), (), 1, Fraction(gap))) for gap in every]
        actors.append(times.Actor(f"drain {n}", times.Program.of(*runs),
                                  pattern=times.Pattern(tuple(d.allowed))))  # fmt: skip
    return times.Network(tuple(actors), channels)


def check(block, case, simulator="pyrtl", what=""):
    """Demand every bit and every cycle, of the beats popped and of those pushed."""
    played = play(case.network, 1)
    assert played is not None, "the model deadlocks"
    starts, _ = played
    ports = case.ports
    feeds = {ports[n]: f for n, f in case.feeds.items()}
    trace = simulate(block, feeds, {ports[n]: d for n, d in case.drains.items()}, simulator)
    for name, beats in case.expected.items():
        got = trace.beats[ports[name]]
        for number, ((word, mask), given) in enumerate(zip(beats, got, strict=True)):
            assert given & mask == word & mask, (what, name, number, hex(given), hex(word & mask))
        assert list(trace.cycles[ports[name]]) == starts[f"drain {name}"], (what, name)
    _check_pops(case, starts["dut"], trace, what)
    return trace


def _check_pops(case, starts, trace, what):
    firings = firings_of(case.network.actors[0], 1)
    for name in case.feeds:
        popped = [t for t, (_, k, _) in zip(starts, firings, strict=True) if name in k.pops]
        got = list(trace.cycles[case.ports[name]])
        # The wires may run on, or be stopped with the last beat that comes out.
        both = min(len(got), len(popped))
        assert got[:both] == popped[:both], (what, name)
