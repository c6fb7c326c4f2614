"""A point of a sweep has the figures of the whole simulation, and costs little."""

import time
from dataclasses import replace
from itertools import product

import pytest

from cosim.design import Choices, Lanes, default_design, sized_design
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from hw_models.evaluate import Evaluator
from hw_models.simulate import simulate
from tests.hw_models import graphs
from tests.test_design import Odd

VCK190, U280 = load_machine("vck190"), load_machine("u280")
OFF_CHIP = (("weights", "memory"), ("states", "memory"), ("embedding", "memory"))


def assert_equal_to_simulation(model, machine, choices, evaluator):
    point = evaluator.point(choices)
    whole = simulate(model, machine, sized_design(model, machine, choices))
    for name in ("cycles_per_token", "latency_cycles", "tokens_per_second"):
        assert getattr(point, name) == getattr(whole, name), name
    assert point.energy_pj == whole.energy_pj
    assert point.energy_pj_per_token == whole.energy_pj_per_token
    assert (point.resources, point.binds) == (whole.design.resources, whole.design.binds)
    assert point.choices == whole.design.choices


@pytest.mark.parametrize("make", [graphs.small_mamba2, graphs.small_mamba1, graphs.typeseg])
def test_a_point_has_the_figures_of_the_whole_simulation(make):
    """Points follow one another in one evaluator: nothing of one is left in the next."""
    model = make()
    evaluator = Evaluator(model, VCK190)
    base = Choices(Lanes(4, 8, 8, 8, 64), window=9)
    widths = [Lanes(4, 8, 8, 8, 64), Lanes(5, 7, 9, 3, 90), Lanes(4, 8, 8, 8, 65)]
    for lanes, places in product(widths, (None, OFF_CHIP)):
        choices = replace(base, lanes=lanes, places=places)
        assert_equal_to_simulation(model, VCK190, choices, evaluator)
    for change in (
        {"order": "graph"}, {"order": "heads"}, {"fused": False}, {"fifos": "whole"},
        {"matrix": "separate"}, {"shallow_beats": 3},
    ):  # fmt: skip
        assert_equal_to_simulation(model, VCK190, replace(base, **change), evaluator)


def test_a_point_of_a_large_model_has_them_too():
    model = graphs.mamba2_27b()
    evaluator = Evaluator(model, U280)
    for rows in (24, 32):
        choices = Choices(Lanes(rows, 64, 128, 64, 256))
        assert_equal_to_simulation(model, U280, choices, evaluator)


def test_a_point_tells_whether_it_fits():
    model = graphs.small_mamba2()
    evaluator = Evaluator(model, VCK190)
    chosen = default_design(model, VCK190).choices
    assert evaluator.point(chosen).fits
    wide = replace(chosen, lanes=replace(chosen.lanes, rows=1000, columns=64))
    assert not evaluator.point(wide).fits


def test_a_model_that_no_unit_carries_is_refused():
    with pytest.raises(UserError, match="no unit carries that"):
        Evaluator(graphs.with_operator(Odd(), 8), VCK190)


def test_a_point_costs_much_less_than_a_simulation():
    """Measured on an idle core: 16 ms against 200 ms; here, only a bound that load cannot break."""
    model = graphs.mamba2_27b()
    evaluator = Evaluator(model, U280)
    choices = Choices(Lanes(32, 64, 128, 64, 256))
    evaluator.point(choices)
    simulate(model, U280)
    began = time.process_time()
    evaluator.point(choices)
    point = time.process_time() - began
    began = time.process_time()
    simulate(model, U280, sized_design(model, U280, choices))
    assert point < 0.5 * (time.process_time() - began)
