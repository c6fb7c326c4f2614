"""Layers that are not alike are each priced by their own shapes, on hardware that they share."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.design import Choices, Lanes, default_design, graph_kinds, sized_design
from cosim.design import sketch as sketches
from cosim.machine import load_machine
from hw_models.build import build_network
from hw_models.dataflow import solve
from hw_models.depths import depths_of, smallest_depths
from hw_models.evaluate import Evaluator
from hw_models.simulate import simulate
from tests.hw_models import graphs
from tests.hw_models.oracle import play

VCK190, U280 = load_machine("vck190"), load_machine("u280")
OFF_CHIP = (("weights", "memory"), ("states", "memory"), ("embedding", "memory"))
ON_CHIP = tuple((name, "chip") for name, _ in OFF_CHIP)


def network_of(model, choices, machine=VCK190):
    design = sized_design(model, machine, choices)
    (kind,) = graph_kinds(model, choices.order, choices.fused, choices.matrix)
    return design, build_network(kind.skeleton, design.layouts[0], design, machine)


@pytest.mark.parametrize("widths", [(40, 16, 28), (8, 64), (24, 24, 25)])
def test_every_layer_takes_the_steps_of_its_own_shapes(widths):
    """By hand: groups of 5 rows, 4 columns a step, up and down again, layer by layer.

    Inputs come in beats of 4 too, so that no row only loads.
    """
    model = graphs.uneven(widths, (4,) * len(widths))
    design, network = network_of(model, Choices(Lanes(5, 4, 1, 4, 64), places=ON_CHIP))
    (matrix,) = (a for a in network.actors if a.name == "matrix")
    by_hand = sum(ceil(w / 5) * ceil(24 / 4) + ceil(24 / 5) * ceil(w / 4) for w in widths)
    assert matrix.body.firings == by_hand
    assert [u.name for u in design.units if u.kind == "matrix"] == ["matrix"]
    found = simulate(model, VCK190, design)
    assert sum(r.macs for r in found.operators) == sum(2 * 24 * w for w in widths)


def test_weights_of_other_widths_stream_as_wide_as_they_are():
    """8 bits in one layer, 4 in two: beats of 8 x 8 weights at the port's pace, each its own."""
    mixed = graphs.uneven((40, 40, 40), (8, 4, 4))
    layouts = []
    for model in (mixed, graphs.uneven((40, 40, 40), (4, 4, 4))):
        design, network = network_of(model, Choices(Lanes(8, 8, 1, 8, 64), places=OFF_CHIP))
        layouts.append(design.layouts[0].layers)
        port = next(a for a in network.actors if a.name in {"memory.weights", "memory"})
        rows = simulate(model, VCK190, design).operators
        bits = sum(r.offchip_bytes for r in rows) * 8
        tasks = {k.task for k in port.body.kinds}
        assert len(tasks) == (6 if design.layouts[0].layers == 1 else 2)
        # A beat has 64 weights; the multipliers of 8 rows take one more a group.
        beats = 3 * (5 * (3 + 1) + 3 * (5 + 1))
        assert port.body.firings * port.loops == beats
        wide = {"0": 8, "1": 4, "2": 4} if model is mixed else {"0": 4, "1": 4, "2": 4}
        assert bits == sum(2 * 40 * 24 * w for w in wide.values()) + 3 * (40 + 24) * 8
    assert layouts == [1, 3], "layers alike are folded, others are not"


@settings(max_examples=10)
@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=4),
    st.builds(
        Lanes, st.integers(1, 9), st.integers(1, 9), st.just(1), st.integers(1, 9),
        st.sampled_from([4, 64]),
    ),
    st.booleans(),
)  # fmt: skip
def test_shared_fifos_neither_deadlock_nor_mix_layers(widths, lanes, on_chip):
    """The event simulation agrees, and every FIFO is there once for all layers."""
    model = graphs.uneven(tuple(widths), (4,) * len(widths))
    choices = Choices(lanes, places=ON_CHIP if on_chip else OFF_CHIP)
    design, network = network_of(model, choices)
    timing = solve(network)
    expected = play(network, 1, patience=3000)
    assert expected is not None
    for actor in network.actors:
        assert expected[1][actor.name] == timing.finish(actor.name).tolist(), actor.name
    if design.layouts[0].layers == 1 and len(widths) > 2:
        assert len({f.channel for f in design.layouts[0].fifos}) < len(design.layouts[0].fifos)


@pytest.mark.parametrize("layers", [3, 9])
def test_unfolded_the_same_layers_cost_much_the_same(layers, monkeypatch):
    """A model that folds, laid out as if it did not: same energy of work, no more hardware."""
    model = graphs.small_mamba2(layers=layers)
    choices = default_design(model, U280).choices
    folded = simulate(model, U280, sized_design(model, U280, choices))
    monkeypatch.setattr(sketches, "_fold_layers", lambda *_: None)
    apart = simulate(model, U280, sized_design(model, U280, choices))
    assert apart.design.layouts[0].layers == 1
    assert folded.design.layouts[0].layers == layers
    # Rows of z must not count as waited for because later layers have states too. What is left
    # are the switches, which only layers that are folded need.
    assert apart.cycles_per_token == pytest.approx(folded.cycles_per_token, rel=0.01)
    assert apart.cycles_per_token <= folded.cycles_per_token
    for name in ("lut", "dsp", "bram", "uram"):
        assert apart.design.resources[name] <= 1.1 * folded.design.resources[name]
    work = {"clock", "static", "on chip"}
    for name, pj in folded.energy_pj.items():
        if name not in work:
            assert apart.energy_pj[name] == pytest.approx(pj)


def test_fifos_that_layers_share_are_sized_as_one():
    model = graphs.uneven()
    evaluator = Evaluator(model, VCK190)
    choices = Choices(Lanes(4, 8, 1, 8, 64), places=ON_CHIP)
    found = smallest_depths(evaluator, choices, 0.0)
    design = evaluator.design(found.choices)
    depths = depths_of(evaluator, design)
    shared = [n for n in depths if "layers.*." in n]
    assert shared
    for fifo in design.layouts[0].fifos:
        assert fifo.depth == depths[fifo.channel]
    named = replace(choices, depths=((shared[0], 9),))
    assert depths_of(evaluator, evaluator.design(named))[shared[0]] == 9
