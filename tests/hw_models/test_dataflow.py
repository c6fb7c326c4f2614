"""The recurrences give what an event simulation gives, and the shortcut changes nothing."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from hw_models.dataflow import solve
from hw_models.network import Actor, Channel, Firing, Network, Pattern, Program
from tests.hw_models.oracle import play


def pattern(rng):
    """Draw no pattern, or one of odd lengths that allows at least one cycle."""
    if rng.random() < 0.6:
        return None
    allowed = rng.random(int(rng.integers(1, 12))) < rng.random()
    allowed[rng.integers(allowed.size)] = True
    return Pattern(tuple(allowed.tolist()))


@st.composite
def networks(draw):
    """Draw actors with random programs, joined by random FIFOs, some of them loops."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = int(rng.integers(2, 6))
    loops = int(rng.integers(1, 9))
    lengths = rng.integers(1, 9, size=(count, 3)) * (rng.random((count, 3)) < (0.5, 1.0, 0.5))
    pops = [[[set() for _ in range(n)] for n in row] for row in lengths]
    pushes = [[[set() for _ in range(n)] for n in row] for row in lengths]
    channels = {}
    for f in range(int(rng.integers(1, 2 * count))):
        maker, taker = (int(x) for x in rng.integers(0, count, 2))
        name, moved = f"f{f}", 0
        for section in range(3):
            most = min(lengths[maker][section], lengths[taker][section])
            n = int(rng.integers(0, most + 1))
            moved += n
            for table, actor in ((pushes, maker), (pops, taker)):
                for at in rng.choice(lengths[actor][section], size=n, replace=False):
                    table[actor][section][at].add(name)
        if moved:
            initial = int(rng.integers(0, 3)) if maker >= taker else 0
            channels[name] = Channel(int(rng.integers(1, 7)) + initial, initial)
    actors = []
    for a in range(count):
        programs = []
        for section in range(3):
            runs = []
            for i, o in zip(pops[a][section], pushes[a][section], strict=True):
                interval = Fraction(int(rng.integers(2, 8)), 2)
                if interval < 1 or rng.random() < 0.6:
                    interval = Fraction(1)
                task = f"t{int(rng.integers(0, 2))}"
                kind = Firing(
                    tuple(sorted(i)), tuple(sorted(o)), int(rng.integers(1, 9)), interval, task
                )
                runs.append((int(rng.integers(1, 4)) if not i | o else 1, kind))
            programs.append(Program.of(*runs))
        actors.append(Actor(f"a{a}", *programs, loops=loops, pattern=pattern(rng)))
    return Network(tuple(actors), channels)


@settings(max_examples=300)
@given(networks(), st.integers(1, 5))
def test_each_round_ends_when_the_event_simulation_ends_it(network, rounds):
    expected = play(network, rounds)
    if expected is None:
        with pytest.raises(UserError, match="deadlocks"):
            solve(network, rounds)
        return
    for shortcut in (False, True):
        timing = solve(network, rounds, shortcut)
        starts = [s.start_cycle for s in timing.spans() if s.actor == network.actors[0].name]
        assert not starts or min(s for s in starts if s >= 0) == expected[0]["a0"][0]
        for actor in network.actors:
            assert expected[1][actor.name] == timing.finish(actor.name).tolist(), actor.name


@settings(max_examples=200)
@given(networks(), st.integers(1, 12), st.integers(1, 40))
def test_the_shortcut_files_what_every_firing_would(network, rounds, loops):
    actors = tuple(replace(a, loops=loops) for a in network.actors)
    network = Network(actors, network.channels)
    try:
        whole = solve(network, rounds, shortcut=False)
    except UserError:
        with pytest.raises(UserError, match="deadlocks"):
            solve(network, rounds)
        return
    short = solve(network, rounds)
    for name in ("finish", "busy", "starved", "blocked", "begin", "end"):
        a, b = getattr(whole, f"{name}_cycles"), getattr(short, f"{name}_cycles")
        assert a.tolist() == b.tolist(), name


def chain(maker_pattern, taker_pattern, depth, beats, latency=1):
    """Join a maker and a taker of so many beats by one FIFO."""
    push = Program.of((beats, Firing((), ("f",), latency, task="m")))
    pop = Program.of((beats, Firing(("f",), (), task="t")))
    actors = (
        Actor("m", push, pattern=maker_pattern), Actor("t", pop, pattern=taker_pattern),
    )  # fmt: skip
    return solve(Network(actors, {"f": Channel(depth)}))


def test_a_source_with_gaps_and_a_sink_that_stalls_move_beats_when_they_may():
    """Offers in cycles 0 mod 3: 0, 3, 6, 9; taken a cycle later: 1, 4, 7, 10."""
    timing = chain(Pattern.of("100"), None, 8, 4)
    assert timing.spans()[0].start_cycle == 0
    assert (timing.finish("m").tolist(), timing.finish("t").tolist()) == ([10], [11])
    # One place: offered in 0, 5, 11, 17 (a cycle after the last was taken), taken in 4, 10, 16, 22.
    timing = chain(None, Pattern.of("000011"), 1, 4)
    assert (timing.finish("m").tolist(), timing.finish("t").tolist()) == ([18], [23])
    # A pattern's own cycles are no waiting for beats or places.
    assert timing.blocked("f") == (5 - 1) + (11 - 6) + (17 - 12)
    assert timing.starved("f") == 1 + (6 - 5) + (12 - 11) + (18 - 17)


@pytest.mark.parametrize("text", ["", "00", "12", "1 0"])
def test_a_pattern_that_never_lets_go_is_refused(text):
    with pytest.raises(UserError, match="pattern"):
        Pattern.of(text)
