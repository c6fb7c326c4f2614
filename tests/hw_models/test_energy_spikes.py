"""Energy of spikes: the paper's own figure, and what accumulators and weights make of it."""

import pytest

from cosim.ir.errors import UserError
from hw_models.energy_spikes import (
    Channel,
    constants_of,
    mean_energies,
    paper_saving,
    unit_energies,
)

# SpikingBrain's 1.13 spikes and 18.4 % silent channels; 8-bit weights, a 32-bit accumulator.
PAPER = Channel(1.13, 1 - 0.184, 4.0, 7, 8, 32, 8)


def units(channel, table="horowitz-45nm"):
    return {u.unit: u for u in unit_energies(channel, constants_of(table)[0])}


def test_the_papers_saving_follows_from_its_formula():
    """1 - 1.13 x 0.03 / 0.23 = 0.8526; its report prints -85.2 % and 6.76 times."""
    prices, _ = constants_of("horowitz-45nm")
    assert paper_saving(1.13, prices) == pytest.approx(1 - 1.13 * 0.03 / 0.23)
    found = units(PAPER)
    assert found["paper: INT8 MAC"].total_pj == pytest.approx(0.23)
    assert found["paper: spikes x 8-bit add"].total_pj == pytest.approx(0.0339)


def test_accumulators_and_weights_turn_the_saving_round():
    """32-bit sums: 62.3 %, 2.65 times; with 2.5 pJ a weight 1.30 times, or 0.95 per spike."""
    found = units(PAPER)
    eight = found["integer, 8-bit activations"]
    once = found["event-driven, weight once a channel"]
    again = found["event-driven, weight once a spike"]
    assert once.add_pj == pytest.approx(0.113)
    assert eight.multiply_pj + eight.add_pj == pytest.approx(0.30)
    assert 0.30 / once.add_pj == pytest.approx(2.65, abs=0.01)
    assert eight.total_pj / once.total_pj == pytest.approx(1.30, abs=0.005)
    assert eight.total_pj / again.total_pj == pytest.approx(0.95, abs=0.005)
    assert found["lock-step bit-serial"].add_pj == pytest.approx(0.4)


def test_a_silent_layer_costs_an_event_driven_unit_nothing():
    found = units(Channel(0.0, 0.0, 0.0, 1, 8, 20, 8))
    assert found["event-driven, weight once a channel"].total_pj == 0
    assert found["lock-step bit-serial"].total_pj == pytest.approx(2.5)


def test_means_weigh_layers():
    one, other = Channel(1.0, 1.0, 4.0, 7, 8, 32, 8), Channel(3.0, 1.0, 4.0, 3, 8, 32, 8)
    rows = {u.unit: u for u in mean_energies([(3.0, one), (1.0, other)], "horowitz-45nm")}
    assert rows["paper: spikes x 8-bit add"].total_pj == pytest.approx(1.5 * 0.03)
    assert sum("matched" in name for name in rows) == 1


def test_other_tables_and_nodes_are_refused():
    with pytest.raises(UserError, match="energy table 'x' is unknown; choose one of horowitz-45nm"):
        constants_of("x")
    with pytest.raises(UserError, match="no layer to price"):
        mean_energies([], "horowitz-45nm")
    prices, logic = constants_of("jouppi-7nm")
    assert {c.node_nm for c in logic} == {7}
    assert prices.add_pj(32) == pytest.approx(0.03)
