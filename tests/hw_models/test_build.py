"""The network of a design has the firings that its units promise, and its times are exact."""

from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.design import Choices, Lanes, graph_kinds, sized_design
from cosim.design.shapes import linear_shape
from cosim.ir.errors import UserError
from cosim.machine import Port, load_machine
from hw_models.build import NO_PATTERNS, build_network
from hw_models.dataflow import solve
from hw_models.network import Pattern
from hw_models.units import memory
from tests.hw_models import graphs
from tests.hw_models.oracle import play

VCK190 = load_machine("vck190")
OFF_CHIP = {"weights": "memory", "states": "memory", "embedding": "memory"}
ON_CHIP = dict.fromkeys(OFF_CHIP, "chip")
MODELS = {
    "mamba2": (graphs.small_mamba2, True),
    "mamba2 in groups": (lambda: graphs.small_mamba2(layers=2, groups=2), True),
    "mamba1": (graphs.small_mamba1, True),
    "one layer": (lambda: graphs.small_mamba2(layers=1), True),
    "bidirectional": (graphs.typeseg, False),
    "projection": (graphs.projection, False),
}


def networks(
    model, lanes, places, tokens, feedback, machine=VCK190, patterns=NO_PATTERNS, **chosen
):
    choices = Choices(lanes, places=tuple(places.items()), **chosen)
    design = sized_design(model, machine, choices)
    kinds = graph_kinds(model, choices.order, choices.fused, choices.matrix)
    for kind, layout in zip(kinds, design.layouts, strict=True):
        yield (
            layout,
            build_network(kind.skeleton, layout, design, machine, tokens, feedback, patterns),
        )


@settings(max_examples=25)
@given(
    st.sampled_from(sorted(MODELS)),
    st.builds(
        Lanes, st.integers(1, 9), st.integers(1, 30), st.integers(1, 40), st.integers(1, 9),
        st.sampled_from([64, 90]),
    ),
    st.booleans(),
    st.integers(1, 3),
    st.fixed_dictionaries({
        "order": st.sampled_from(["graph", "waited", "heads"]),
        "fused": st.booleans(),
        "fifos": st.sampled_from(["waiting", "whole"]),
        "shallow_beats": st.sampled_from([2, 32]),
        "matrix": st.sampled_from(["shared", "separate"]),
    }),
)  # fmt: skip
def test_any_design_of_a_model_ends_when_the_event_simulation_ends_it(
    name, lanes, on_chip, tokens, chosen
):
    """Odd lanes, weights and states on chip or off: no deadlock, and the same times."""
    make, feedback = MODELS[name]
    places = ON_CHIP if on_chip else OFF_CHIP
    for layout, network in networks(make(), lanes, places, tokens, feedback, **chosen):
        rounds = tokens if layout.layers > 1 else 1
        timing = solve(network, rounds)
        expected = play(network, rounds, patience=3000)
        assert expected is not None
        for actor in network.actors:
            assert expected[1][actor.name] == timing.finish(actor.name).tolist(), actor.name


@settings(max_examples=12)
@given(
    st.text("01", min_size=1, max_size=30).filter(lambda t: "1" in t),
    st.text("01", min_size=1, max_size=7).filter(lambda t: "1" in t),
    st.integers(1, 3),
    st.booleans(),
)
def test_sources_with_gaps_and_sinks_that_stall_are_timed_to_the_cycle(gaps, stalls, tokens, back):
    """With and without the shortcut, and whether or not a token waits for the last one."""
    patterns = {"source.token": Pattern.of(gaps), "sink.logits": Pattern.of(stalls)}
    model = graphs.small_mamba2()
    ((_, network),) = networks(
        model, Lanes(5, 7, 9, 3, 64), OFF_CHIP, tokens, back, patterns=patterns
    )
    expected = play(network, tokens, patience=4000)
    ((_, free),) = networks(model, Lanes(5, 7, 9, 3, 64), OFF_CHIP, tokens, back)
    soonest = solve(free, tokens).finish("sink.logits")[-1]
    for timing in (solve(network, tokens), solve(network, tokens, shortcut=False)):
        for actor in network.actors:
            assert expected[1][actor.name] == timing.finish(actor.name).tolist(), actor.name
        assert timing.finish("sink.logits")[-1] >= soonest


def test_a_matrix_unit_takes_one_firing_for_each_beat_of_weights():
    """Rows in groups of 4, 7 columns at a time: 84 + 2 * 12 rows of 24, then 24 rows of 48."""
    lanes = Lanes(rows=4, columns=7, state=8, chain=8, prefetch=64)
    model = graphs.small_mamba2()
    ((_, network),) = networks(model, lanes, ON_CHIP, 1, True)
    matrix = next(a for a in network.actors if a.name == "matrix")
    in_proj, out_proj = 2 * 48 + 2 * 12 + 6, 24
    groups = -(-in_proj // 4) * -(-24 // 7) + -(-out_proj // 4) * -(-48 // 7)
    # The input of 24 comes in beats of 8: no row of 7 columns needs more than one beat more.
    assert matrix.body.firings == groups
    assert matrix.loops == 3


def test_multipliers_come_with_the_weights_when_these_are_streamed():
    lanes = Lanes(rows=4, columns=8, state=8, chain=8, prefetch=64)
    model = graphs.small_mamba2()
    (kind,) = graph_kinds(model)
    task = kind.skeleton.task("layers.*.out_proj.acc")
    shape = linear_shape(kind.skeleton, task)
    design = sized_design(model, VCK190, Choices(lanes, places=tuple(OFF_CHIP.items())))
    unit = design.unit("matrix")
    assert (shape.rows, shape.columns, shape.weight_bits, shape.scale_bits) == (24, 48, 4, 8)
    # A group of 4 rows: 4 multipliers of 8 bits fit one beat of 4 * 8 weights of 4 bits.
    assert shape.steps(unit, streamed=True) == 6 * (6 + 1)
    assert shape.steps(unit, streamed=False) == 6 * 6
    network = build_network(kind.skeleton, design.layouts[0], design, VCK190)
    port = next(a for a in network.actors if a.name == "memory")
    assert port.beats("weights", pushed=True) == sum(
        a.beats("weights", pushed=False) for a in network.actors
    )


def test_a_port_gives_its_exact_share_of_the_bandwidth():
    """28 of 32 parts of 10426 2/3 bits a cycle: a beat of 10240 bits takes 1.12 cycles."""
    rate = Fraction(31280, 3) * Fraction(28, 32)
    port = Port(rate, 45, Fraction(64 * 64 * 28))
    program = memory.fetched("w", "weights", 3000, 10240, port)
    assert program.firings == 3000
    assert program.busy_cycles == ceil(3000 * Fraction(10240) / rate) == 3368


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_a_chain_does_one_row_a_cycle_and_lets_groups_out_when_they_are_whole(lanes):
    """Scales of groups of 8: with 3 lanes, elements 0..7 are in with row 2 and leave from it."""
    model = graphs.small_mamba2()
    ((_, network),) = networks(model, Lanes(4, 8, 8, lanes, 64), ON_CHIP, 1, True)
    chain = next(a for a in network.actors if a.name == "vector.in_proj.q").body
    into = "layers.*.norm -> layers.*.in_proj.q"
    codes = "layers.*.in_proj.q -> layers.*.in_proj.acc"
    popped, pushed = [], []
    for index, times in zip(chain.index, chain.times, strict=True):
        kind = chain.kinds[index]
        popped += [into in kind.pops] * int(times)
        pushed += [codes in kind.pushes] * int(times)
    rows = {
        1: (list(range(24)), list(range(7, 31))),
        3: (list(range(8)), [2, 3, 5, 6, 7, 8, 9, 10]),
        8: (list(range(3)), [0, 1, 2]),
    }[lanes]
    assert (np.flatnonzero(popped).tolist(), np.flatnonzero(pushed).tolist()) == rows


def test_a_switch_hands_the_embedding_on_first_and_then_each_layer():
    ((_, network),) = networks(
        graphs.small_mamba2(layers=3), Lanes(4, 8, 8, 8, 64), ON_CHIP, 1, True
    )
    switch = next(a for a in network.actors if a.name == "switch.residual_out")
    assert switch.loops == 2
    assert switch.before.beats("embed -> carry.residual_out", pushed=False) == 3
    assert switch.body.beats("layers.*.residual_out -> carry.residual_out", pushed=False) == 3
    assert switch.after.beats("carry.residual_out -> final_norm.in", pushed=True) == 3
    assert switch.body.beats("carry.residual_out -> final_norm.in", pushed=True) == 0


def test_a_state_waits_until_its_last_update_is_written():
    """With the whole state in one row, the next token must wait for the pipeline."""
    model = graphs.small_mamba2(layers=1)
    ((_, network),) = networks(model, Lanes(4, 8, 1024, 8, 64), ON_CHIP, 2, True)
    state = next(a for a in network.actors if a.name == "state").body
    assert state.kinds[state.index[-1]].interval > 1
    ((_, network),) = networks(model, Lanes(4, 8, 4, 8, 64), ON_CHIP, 2, True)
    state = next(a for a in network.actors if a.name == "state").body
    assert state.kinds[state.index[-1]].interval == 1


def test_beats_that_a_unit_does_not_give_are_refused():
    model = graphs.small_mamba2()
    design = sized_design(model, VCK190, Lanes(4, 8, 8, 8, 64))
    units = tuple(replace(u, lanes=5) if u.kind == "norm" else u for u in design.units)
    (kind,) = graph_kinds(model)
    with pytest.raises(UserError, match="has beats of 8 elements, but unit norm gives 5"):
        build_network(kind.skeleton, design.layouts[0], replace(design, units=units), VCK190)


def test_a_fifo_too_shallow_for_what_waits_in_it_is_named():
    model = graphs.small_mamba2()
    design = sized_design(model, VCK190, Lanes(4, 8, 8, 8, 64))
    (layout,) = design.layouts
    fifos = tuple(
        replace(f, depth=2) if f.value == "carry.residual_out" else f for f in layout.fifos
    )
    (kind,) = graph_kinds(model)
    network = build_network(kind.skeleton, replace(layout, fifos=fifos), design, VCK190)
    with pytest.raises(UserError) as caught:
        solve(network)
    assert (
        "waits for a place in carry.residual_out -> layers.*.residual_out (full, 2 beats)"
        in str(caught.value)
    )
    assert str(caught.value).endswith("make the full FIFO deeper")
