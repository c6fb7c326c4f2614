"""LightMamba's released loops as a network: words, order and times against those of its code."""

from fractions import Fraction

import pytest

from cosim.machine import load_machine
from cosim.machine.blocks import uram_blocks
from hw_models.dataflow import solve
from hw_models.network import Actor, Network
from hw_models.validate import released
from hw_models.validate.ablation import released_memory_rows, released_schedule_rows
from hw_models.validate.lightmamba import share_for
from hw_models.validate.released import Words, loops, network

# TOTAL_CYCS, C_CYCS and H_CYCS of case/M_AXI_STATIC.cpp, and WQ_LOOPS + WS_LOOPs.
TOTAL, TAPS, STATES = 635_199, 714, 21_760


def test_the_words_are_those_that_the_code_counts():
    words = Words.of(4)
    assert (words.weights + words.scales, words.taps, words.states) == (TOTAL, TAPS, STATES)
    assert (words.weights, words.scales) == (627_840, 7_359)
    assert words.total == TOTAL + 3 * TAPS + 2 * STATES
    # By hand: half a byte a weight, 6 bits for 128 of them, states and taps of 8 bits, 4 for 8.
    states, taps = 5120 * 128 * 8.5 / 8, 4 * 5376 * 8.5 / 8
    by_hand = 40_181_760 * (0.5 + 6 / 8 / 128) + 2 * states + 3 * taps
    assert words.total * 32 == pytest.approx(by_hand, rel=1e-5)
    wide = Words.of(8)
    assert wide.total * 64 == pytest.approx(by_hand + 40_181_760 / 2, rel=1e-4)


def test_the_port_is_never_idle_so_that_a_token_is_its_words_and_waits():
    found = loops()
    assert found.cycles == 64 * (TOTAL + 3 * TAPS + 2 * STATES + 6 * released.LATENCY)
    assert found.busy_percent == pytest.approx(100 * 627_840 / 681_071)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("gb_s", [11.16, 3.7])
def test_a_slower_memory_takes_its_bytes_over_its_bandwidth(bits, gb_s):
    found = loops(bits, gb_s=gb_s)
    bound = gb_s * 1e9 / found.bytes_per_token
    assert 0.999 * bound < found.tokens_per_s < bound


def test_rows_in_the_graphs_order_leave_all_states_behind_in_proj():
    """By hand: 640 tiles of 512 cycles after in_proj, of which its queue of weights hides some."""
    late = loops(order="graph").cycles / 64 - loops().cycles / 64
    assert 640 * 512 - 3 * released.AHEAD < late < 640 * 512


def test_tiles_come_as_the_code_lays_weights_out():
    """ACCELERATOR.scala puts tile `cot` of [z, x, B, C, dt] at place `at` of the stream."""
    at = {}
    for cot in range(1322):
        for kind, first, ahead in (("z", 0, 1), ("x", 640, 2)):
            if first <= cot < first + 640:
                group, last = divmod(cot + 1 - first, 64)
                start = 32 + group * 129 - ahead
                at[start + 1 + 2 * last if last else start] = kind
                if last:  # the first of two is one place before
                    at.setdefault(start, "")
        if 1280 <= cot < 1312:
            at[cot - 1280] = "BC"
        elif cot >= 1312:
            at[32 + (cot - 1312) * 129] = "dt"
    tiles = released._tiles("heads")
    assert len(tiles) == 1322
    named = {place: kind for place, kind in at.items() if kind}
    assert set(named) == set(range(1322))
    assert [named[k] for k in range(1322)] == tiles


@pytest.mark.parametrize(("name", "given"), [
    ("state", released.HT_STATE_CYCLES), ("norm 2", 1305), ("gemm", released.GEMM_CYCLES),
])  # fmt: skip
def test_a_unit_alone_takes_what_its_synthesis_reports(name, given):
    """HLS_SYN_LAT of its all.v, but for a few cycles of pipelines between its loops."""
    whole = network(Words.of(4), "heads", Fraction(1))
    (actor,) = (a for a in whole.actors if a.name == name)
    bare = [
        (n, type(f)((), (), 1, f.interval, f.task))
        for n, f in zip(
            actor.body.times.tolist(), (actor.body.kinds[k] for k in actor.body.index), strict=True
        )
    ]
    alone = Network((Actor(name, body=type(actor.body).of(*bare), loops=1),), {})
    assert given - 33 <= solve(alone).finish(name)[-1] <= given


def test_the_share_that_meets_a_speed_does():
    for bits, speed in ((4, 7.21), (8, 3.61)):
        share = share_for(bits, speed, 12.0)
        assert 0.8 < share < 0.85
        assert loops(bits, gb_s=12 * share).tokens_per_s == pytest.approx(speed, rel=1e-4)


def test_schedules_and_buffers_beside_the_published_ablation():
    naive, ordered, saved = released_schedule_rows()
    assert naive.modelled < 66
    assert ordered.modelled > 90
    assert saved.modelled == pytest.approx(100 * (1 - naive.modelled / ordered.modelled))
    assert saved.verdict == "within"
    assert {naive.verdict, ordered.verdict} == {"missed"}
    assert "would save 40 %" in naive.unknown
    rows = {r.design.split()[-1]: r for r in released_memory_rows(load_machine("lightmamba-u280"))}
    # By hand in blocks of 4096 x 72: 256 bits are 4 wide; 20,480 words are 5 deep, the rest 1.
    assert rows["tiled"].modelled == 4 * 5 + 8 * 4
    assert rows["saved"].modelled == 2 * 4 * 20 + 4 * 5 + 4
    assert rows["whole"].modelled == rows["tiled"].modelled + rows["saved"].modelled
    assert uram_blocks(256, 81_920) == 80
