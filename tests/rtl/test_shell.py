"""The control fires in the very cycles that the timed dataflow gives, whatever is around it."""

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pyrtl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import InternalError
from hw_models import network as times
from hw_models.dataflow import solve
from rtl.netlist import building
from rtl.pipe import delayed
from rtl.simulate import Drain, Feed, simulate
from rtl.streams import drive
from rtl.units.fifo import fifo
from rtl.units.schedule import Firing, Schedule
from rtl.units.shell import Place, actor, attach
from tests.hw_models.oracle import play
from tests.hw_models.test_dataflow import networks
from tests.rtl.simulators import ALL


def schedule_of(actor: times.Actor) -> Schedule:
    """Read the firings of an actor of the model into a schedule of the wires."""
    parts = [
        tuple(
            (int(n), Firing(k.pops, k.pushes, k.latency, k.interval))
            for n, k in ((n, p.kinds[i]) for i, n in zip(p.index, p.times, strict=True))
        )
        for p in actor.sections
    ]
    body = parts[1] if actor.loops else ()
    return Schedule(parts[0], body, parts[2], max(actor.loops, 1))


def one_latency(network: times.Network) -> times.Network:
    """Give each actor one latency: beats of one FIFO never overtake each other in wires."""
    actors = []
    for number, a in enumerate(network.actors):
        programs = [
            times.Program(
                tuple(replace(k, latency=1 + number * 2) for k in p.kinds), p.index, p.times
            )
            for p in a.sections
        ]
        actors.append(times.Actor(a.name, *programs, loops=a.loops))
    return times.Network(tuple(actors), network.channels)


def starts_in_wires(network: times.Network, cycles: int) -> dict[str, list[int]]:
    """Build all actors and FIFOs of a network in one block; return the cycles of their firings."""
    busy = [a for a in network.actors if any(p.firings for p in a.sections)]
    with building() as block:
        queues = {n: fifo(c.depth, 1, c.initial) for n, c in network.channels.items()}
        for a in busy:
            schedule = schedule_of(a)
            into = {n: queues[n].end for n in schedule.pops}
            out = {n: queues[n] for n in schedule.pushes}
            control = attach(
                schedule, into, out, lambda _, __, o=out: {n: pyrtl.Const(0, 1) for n in o}
            )
            drive(pyrtl.Output(1, a.name), control.fire)
    simulation = pyrtl.FastSimulation(tracer=None, block=block)
    found: dict[str, list[int]] = {a.name: [] for a in busy}
    for now in range(cycles):
        simulation.step({})
        for name, starts in found.items():
            if simulation.inspect(name):
                starts.append(now)
    return found


def check_network(network: times.Network, rounds: int) -> None:
    """Loops, credits, initial beats, fractional intervals; more rounds change no earlier one."""
    network = one_latency(network)
    played = play(network, rounds)
    if played is None:
        return
    starts, finish = played
    last = max(max(f) for f in finish.values())
    timing = solve(network, rounds)
    got = starts_in_wires(network, last)
    for a in network.actors:
        if a.name in got:
            assert got[a.name][: len(starts[a.name])] == starts[a.name], a.name
            assert timing.finish(a.name).tolist() == finish[a.name]


@settings(max_examples=25)
@given(networks(), st.integers(1, 3))
def test_every_firing_of_a_network_starts_when_the_model_says(network, rounds):
    check_network(network, rounds)


@pytest.mark.slow
@settings(max_examples=300)
@given(networks(), st.integers(1, 3))
def test_every_firing_of_many_networks_starts_when_the_model_says(network, rounds):
    check_network(network, rounds)


def draw_actor(rng: random.Random, pops: list[str], pushes: list[str]) -> Schedule:
    """Draw an actor with three parts; each output has a latency of its own."""
    latency = {n: rng.randint(1, 9) for n in pushes}

    def runs(most: int):
        found = []
        for _ in range(rng.randint(1, most)):
            wide = rng.choice([1, *latency.values()])
            out = tuple(n for n in pushes if latency[n] == wide and rng.random() < 0.8)
            into = tuple(n for n in pops if rng.random() < 0.6)
            gap = Fraction(*rng.choice([(1, 1), (1, 1), (3, 1), (7, 3), (5, 4)]))
            found.append((rng.randint(1, 5), Firing(into, out, wide, gap)))
        return tuple(found)

    whole = ((1, Firing(tuple(pops), ())), *((1, Firing((), (n,), latency[n])) for n in pushes))
    return Schedule((*runs(3), *whole), runs(4), runs(2), rng.randint(1, 5))


def counts(schedule: Schedule, name: str) -> tuple[int, int]:
    """Return how many beats of a FIFO a round pops and pushes."""
    rows = [*schedule.before, *(schedule.body * schedule.loops), *schedule.after]
    return (
        sum(n for n, k in rows if name in k.pops),
        sum(n for n, k in rows if name in k.pushes),
    )


def single(seed: int):
    """Draw an actor, what feeds it and what drains it; return (schedule, places, feeds, drains)."""
    rng = random.Random(seed)
    pops, pushes = ["a", "b"][: rng.randint(1, 2)], ["y", "z"][: rng.randint(1, 2)]
    schedule = draw_actor(rng, pops, pushes)
    places = {n: Place(16, rng.randint(1, 6)) for n in pushes}

    def gaps(count: int) -> list[int]:
        return [rng.choice([1, 1, rng.randint(1, 8)]) for _ in range(count)]

    feeds, drains = {}, {}

    def pattern() -> list[bool]:
        return [True, *(rng.random() < 0.6 for _ in range(rng.choice([0, 0, 3, 11])))]

    for n in pops:
        count = counts(schedule, n)[0]
        beats = [rng.getrandbits(16) for _ in range(count)]
        depth, latency = rng.choice([None, 1, 3]), rng.randint(1, 4)
        feeds[n] = Feed(beats, gaps(count), depth, latency, allowed=pattern())
    for n in pushes:
        count = counts(schedule, n)[1]
        drains[n] = Drain(count, gaps(count), allowed=pattern())
    return schedule, places, feeds, drains


def model_of(schedule: Schedule, places, feeds, drains) -> times.Network:
    """Describe the same in the model: feeds and drains are actors of one firing a run."""

    def program(runs) -> times.Program:
        return times.Program.of(
            *((n, times.Firing(k.pops, k.pushes, k.latency, k.interval)) for n, k in runs)
        )

    parts = (program(r) for r in (schedule.before, schedule.body, schedule.after))
    actors = [times.Actor("dut", *parts, loops=schedule.loops)]
    channels = {n: times.Channel(p.depth) for n, p in places.items()}
    for n, f in feeds.items():
        channels[n] = times.Channel(f.depth or len(f.beats))
        runs = [(1, Firing((), (n,), f.latency, Fraction(gap))) for gap in f.intervals]
        pattern = times.Pattern(tuple(f.allowed))
        actors.append(times.Actor(f"feed {n}", program(runs), pattern=pattern))
    for n, d in drains.items():
        runs = [(1, Firing((n,), (), 1, Fraction(gap))) for gap in d.intervals]
        pattern = times.Pattern(tuple(d.allowed))
        actors.append(times.Actor(f"drain {n}", program(runs), pattern=pattern))
    return times.Network(tuple(actors), channels)


def numbered(schedule: Schedule):
    """Make a datapath that pushes the number of the firing plus the beats popped in it."""
    latency = schedule.latencies()

    def datapath(control, beats):
        count = pyrtl.Register(16, reset_value=0)
        drive(count.next, pyrtl.select(control.fire, (count + 1).truncate(16), count))
        total = count
        for n, beat in beats.items():
            total = (total + pyrtl.select(control.pops[n], beat, 0)).truncate(16)
        return {n: delayed(total, latency[n] - 1) for n in schedule.pushes}

    return datapath


def expected_beats(schedule: Schedule, feeds) -> dict[str, list[int]]:
    rows = [*schedule.before, *(schedule.body * schedule.loops), *schedule.after]
    left = {n: list(f.beats) for n, f in feeds.items()}
    found: dict[str, list[int]] = {n: [] for n in schedule.pushes}
    number = 0
    for n, kind in rows:
        for _ in range(n):
            total = number + sum(left[f].pop(0) for f in kind.pops)
            for f in kind.pushes:
                found[f].append(total % (1 << 16))
            number += 1
    return found


@pytest.mark.parametrize("simulator", ALL)
def test_an_actor_behind_gaps_and_stalls_keeps_every_cycle_of_the_model(simulator):
    for seed in range({"pyrtl": 100, "verilator": 2}.get(simulator, 6)):
        schedule, places, feeds, drains = single(seed)
        starts, finish = play(model_of(schedule, places, feeds, drains), 1)
        block = actor(schedule, dict.fromkeys(feeds, 16), places, numbered(schedule))
        trace = simulate(block, feeds, drains, simulator)
        assert {n: list(b) for n, b in trace.beats.items()} == expected_beats(schedule, feeds)
        for n in drains:
            assert list(trace.cycles[n]) == starts[f"drain {n}"], (seed, n)
        timing = solve(model_of(schedule, places, feeds, drains))
        for n in drains:
            assert timing.finish(f"drain {n}")[0] == finish[f"drain {n}"][0]
            assert finish[f"drain {n}"][0] == trace.cycles[n][-1] + drains[n].intervals[-1]


def test_marks_reach_the_datapath_with_their_firing():
    a, b = Firing((), ("y",), 1, marks=(("row", 5),)), Firing((), ("y",), 1, marks=(("row", 2),))
    block = actor(
        Schedule(((2, a), (1, b))), {}, {"y": Place(3, 4)}, lambda c, _: {"y": c.marks["row"]}
    )
    assert simulate(block, {}, {"y": Drain(7)}).beats["y"] == (5, 5, 2, 5, 5, 2, 5)


def test_what_is_no_schedule_is_refused():
    with pytest.raises(InternalError, match="without firings"):
        Schedule()
    with pytest.raises(InternalError, match="latencies 1 and 2"):
        Schedule(((1, Firing((), ("y",), 1)), (1, Firing((), ("y",), 2))))
    with pytest.raises(InternalError, match="at least one cycle"):
        Firing(interval=Fraction(1, 2))


def test_the_model_is_what_is_compared_with():
    """A place that came free one cycle early would be seen: the FIFO of one place tells."""
    schedule = Schedule(((6, Firing((), ("y",), 1)),))
    block = actor(schedule, {}, {"y": Place(1, 1)}, lambda _, __: {"y": pyrtl.Const(0, 1)})
    trace = simulate(block, {}, {"y": Drain(6)})
    assert np.diff(trace.cycles["y"]).tolist() == [2] * 5
