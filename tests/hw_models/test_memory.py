"""The ports' firings follow the pattern of `cosim/machine/service.py`, to the cycle."""

from fractions import Fraction

import numpy as np
import pytest

from cosim.machine import Port
from hw_models.dataflow import solve
from hw_models.network import Actor, Channel, Firing, Network, Program
from hw_models.units import memory

PORTS = [
    Port(Fraction(400), 1, Fraction(4096)),
    Port(Fraction(1000, 3), 9, Fraction(100)),
    Port(Fraction(512), 45, Fraction(4096)),
    Port(Fraction(77, 2), 45, Fraction(30_000)),
]


def starts(program: Program) -> list[int]:
    """Return the start of each firing of a program that never waits."""
    gaps = np.array([int(k.interval) for k in program.kinds])[program.index]
    return [0, *np.cumsum(np.repeat(gaps, program.times)).tolist()][:-1]


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("beats", [1, 2, 7, 8, 9, 64, 1001])
def test_every_beat_is_served_in_its_cycle(port, beats):
    pace = port.pace(512)
    expected = [pace.cycle(k) for k in range(beats)]
    weights = memory.fetched("w", "into", beats, 512, port)
    told = "state.written"
    reads = memory.read_back("s", told, "state.in", beats, 512, port)
    writes = memory.write_back("s", told, "state.out", beats, 512, port)
    for program in (weights, reads, writes):
        assert starts(program) == expected
        assert program.busy_cycles == pace.free(beats)
        assert program.firings == beats
    assert weights.beats("into", pushed=True) == beats
    assert reads.beats("state.in", pushed=True) == beats
    assert reads.beats(told, pushed=False) == 1
    assert writes.beats("state.out", pushed=False) == beats
    assert writes.beats(told, pushed=True) == 1


def test_the_first_read_waits_for_what_was_written_and_the_last_write_says_so():
    port = PORTS[0]
    reads = memory.read_back("s", "told", "in", 20, 512, port)
    writes = memory.write_back("s", "told", "out", 20, 512, port)
    assert reads.kinds[reads.index[0]].pops == ("told",)
    assert writes.kinds[writes.index[-1]].pushes == ("told",)


@pytest.mark.parametrize("port", PORTS)
def test_a_taker_that_is_always_ready_sees_the_pattern_and_the_latency(port):
    """A task of n beats, solved: the last is taken `latency` cycles after it is served."""
    beats = 500
    taker = Actor("taker", before=Program.of((beats, Firing(("into",), (), 1, task="t"))))
    maker = Actor("port", before=memory.fetched("w", "into", beats, 512, port))
    timing = solve(Network((maker, taker), {"into": Channel(beats)}))
    last = port.pace(512).cycle(beats - 1)
    assert timing.finish("taker")[0] == last + port.latency_cycles + 1
    assert timing.finish("port")[0] == port.pace(512).free(beats)


def test_runs_are_few():
    """Two to a burst, however long the task: 2 000 000 beats in bursts of 64."""
    program = memory.fetched("w", "into", 2_000_000, 512, Port(Fraction(400), 9, Fraction(32_768)))
    assert program.times.size <= 2 * -(-2_000_000 // 64)
    assert len(program.kinds) <= 4


def double_buffered(beats, uses, tile, port, depth):
    """Time port, double buffer and a taker that is always ready."""
    fill = memory.fetched("w", "fill", beats, 512, port)
    buffer = memory.reused("w", "fill", "out", beats, uses, tile)
    take = Program.of((beats * uses, Firing(("out",), (), 1, task="t")))
    actors = (Actor("port", before=fill), Actor("buffer", before=buffer),
              Actor("taker", before=take))  # fmt: skip
    return solve(Network(actors, {"fill": Channel(depth), "out": Channel(8)}))


@pytest.mark.parametrize("uses", [1, 2, 3, 16])
def test_a_double_buffer_hides_the_fetch_behind_the_uses_or_the_other_way_round(uses):
    """A port of one beat in 3 cycles: a tile of 32 takes the longer of 96 and 32 x uses cycles."""
    tiles, tile = 20, 32
    port = Port(Fraction(512, 3), 40, Fraction(512))
    timing = double_buffered(tiles * tile, uses, tile, port, tile)
    each, took = max(3 * tile, tile * uses), int(timing.finish("buffer")[0])
    # Before the first beat there is the latency; after the last fetch, the last tile's other uses.
    assert tiles * each <= took <= tiles * each + port.latency_cycles + 3 * tile + tile * uses


def test_half_a_buffer_does_not_hide_it():
    """With a FIFO of one beat nothing is fetched while a tile is used: both times add up."""
    tiles, tile, uses = 20, 32, 6
    port = Port(Fraction(512, 3), 1, Fraction(512))
    whole = int(double_buffered(tiles * tile, uses, tile, port, tile).finish("buffer")[0])
    single = int(double_buffered(tiles * tile, uses, tile, port, 1).finish("buffer")[0])
    assert whole == pytest.approx(tiles * tile * uses, rel=0.06)
    assert single == pytest.approx(tiles * (3 * tile + tile * (uses - 1)), rel=0.02)


@pytest.mark.parametrize(("beats", "uses", "tile"), [(64, 4, 16), (70, 3, 16), (5, 7, 16)])
def test_every_beat_is_fetched_once_and_given_as_often_as_it_is_used(beats, uses, tile):
    program = memory.reused("w", "fill", "out", beats, uses, tile)
    assert program.beats("fill", pushed=False) == beats
    assert program.beats("out", pushed=True) == beats * uses == program.busy_cycles
