"""The mapper keeps budgets, finds what an exhaustive search finds, and says why it stops."""

from dataclasses import replace
from itertools import product

import pytest

from cosim.design import Choices, Lanes, Workload, default_design
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from hw_models.evaluate import Evaluator
from hw_models.mapper import Goal, map_model
from quant.from_config import lower_config
from quant.models.mamba2 import Config as Mamba2
from tests.hw_models import graphs

VCK190, U280 = load_machine("vck190"), load_machine("u280")


@pytest.mark.parametrize("objective", ["latency", "throughput", "energy", "area"])
def test_a_search_never_ends_behind_its_start_and_keeps_the_budget(objective):
    model = graphs.small_mamba2()
    start = Evaluator(model, VCK190).point(default_design(model, VCK190).choices)
    found = map_model(model, VCK190, Goal(objective))
    merits = {
        "latency": lambda p: p.latency_cycles,
        "throughput": lambda p: p.cycles_per_token,
        "energy": lambda p: p.energy_pj_per_token,
        "area": lambda p: sum(u / p.budget[n] for n, u in p.resources.items()),
    }
    merit = merits[objective]
    assert merit(found.point) < 0.9 * merit(start)
    assert all(u <= found.point.budget[n] for n, u in found.point.resources.items())
    for tried in found.refused:
        if tried.verdict.endswith("%"):
            assert float(tried.verdict.split()[1]) > -0.11, tried


def test_the_fastest_widths_of_a_grid_are_no_faster_than_what_was_found():
    """Against all 320 designs of a grid that fit a tight budget."""
    model = graphs.small_mamba2(layers=2)
    budget = {"dsp": 150, "lut": 60_000}
    found = map_model(model, VCK190, Goal("latency", budget))
    evaluator = Evaluator(model, VCK190)
    best = None
    grid = product((1, 2, 4, 8, 16), (4, 8, 16, 32), (2, 4, 8, 16), (2, 4, 8, 16))
    for rows, columns, state, chain in grid:
        point = evaluator.point(Choices(Lanes(rows, columns, state, chain, 64)))
        if all(point.resources[n] <= most for n, most in budget.items()):
            best = min(point.latency_cycles, best or point.latency_cycles)
    assert found.point.latency_cycles <= 1.02 * best
    assert all(found.point.resources[n] <= most for n, most in budget.items())


@pytest.mark.slow
def test_half_the_bandwidth_gives_half_the_pace_and_says_what_binds():
    model = graphs.mamba2_27b()
    whole = map_model(model, U280, Goal("throughput", slack=None))
    half = map_model(model, U280, Goal("throughput", bandwidth_share=0.5, slack=None))
    assert half.point.cycles_per_token == pytest.approx(2 * whole.point.cycles_per_token, rel=0.05)
    for found in (whole, half):
        assert found.point.binds.startswith("weights from hbm")
        assert 0.95 < found.bandwidth_share < 1
        assert "% of what the bandwidth allows" in found.text()
    assert any("does not fit" in t.verdict and t.move == "states in chip" for t in whole.refused)


def test_the_smallest_design_that_is_fast_enough_is_barely_so():
    model = graphs.small_mamba2()
    goal = Goal("area", tokens_per_second=200_000.0)
    found = map_model(model, VCK190, goal)
    assert 200_000 <= found.point.tokens_per_second < 300_000
    smallest = map_model(model, VCK190, replace(goal, tokens_per_second=0.0))
    assert smallest.point.tokens_per_second < 200_000
    with pytest.raises(UserError, match=r"gives 1e\+09 tokens/s; the best gives"):
        map_model(model, VCK190, replace(goal, tokens_per_second=1e9))


def test_a_prompt_on_chip_is_mapped_to_more_than_one_pass_a_turn():
    model, load = graphs.small_mamba2(layers=2), Workload("prefill", 16)
    found = map_model(model, VCK190, Goal("throughput", {"dsp": 150}, workload=load, slack=None))
    alone = map_model(model, VCK190, Goal("throughput", {"dsp": 150}, slack=None))
    assert found.point.cycles_per_token < 0.6 * alone.point.cycles_per_token
    assert found.point.choices.tile * found.point.choices.tiles > 1
    assert "for throughput of prefill of 16 tokens: " in found.text()
    assert 0.5 < found.product_share <= 1


@pytest.mark.slow
@pytest.mark.parametrize("load", [Workload("prefill", 48), Workload(batch=6)])
def test_a_prompt_and_a_batch_are_mapped_and_explained(load):
    """A head too large for the chip: the search finds tiles, keeps the budget, says what binds."""
    config = Mamba2(
        vocab_size=20_000, hidden_size=24, intermediate_size=48, state_size=12,
        num_hidden_layers=3, num_heads=6, head_dim=8, n_groups=1,
    )  # fmt: skip
    model = lower_config("small", config, graphs.recipe(4))
    logic = replace(VCK190.logic, brams=180, urams=0)
    memory = replace(VCK190.memories[0], controller_brams=0)
    small = replace(VCK190, logic=logic, memories=(memory,))
    budget = {"dsp": 120, "lut": 90_000}
    found = map_model(model, small, Goal("throughput", budget, workload=load, slack=None))
    assert dict(found.design.places)["weights"] == "memory"
    start = Evaluator(model, small).point(default_design(model, small, workload=load).choices)
    assert all(found.point.resources[n] <= most for n, most in budget.items())
    if start.fits and all(start.resources[n] <= most for n, most in budget.items()):
        assert found.point.cycles_per_token <= start.cycles_per_token
    assert found.design.choices.workload == load
    assert 0 < found.product_share <= 1
    assert 0 <= found.bandwidth_share <= 1
    assert f"small on vck190 for throughput of {load.text()}: " in found.text()
    assert "% of what the products allow" in found.text()
    assert "binds: " in found.text()
    assert any(t.move.startswith("tile") for t in (*found.refused, *found.steps))


def test_states_may_come_on_chip_where_their_fifos_had_a_depth():
    """What the rules give a board that is short of memory must not keep a search from moving on."""
    evaluator = Evaluator(graphs.small_mamba2(), VCK190)
    places = (("weights", "memory"), ("states", "chip"), ("embedding", "memory"))
    depths = (("state.in", 8), ("state.out", 8))
    point = evaluator.point(Choices(Lanes(4, 8, 8, 8, 64), places=places, depths=depths))
    plain = evaluator.point(Choices(Lanes(4, 8, 8, 8, 64), places=places))
    assert point.cycles_per_token == plain.cycles_per_token
    assert point.resources == plain.resources


def test_a_text_tells_the_way():
    found = map_model(graphs.small_mamba2(), VCK190, Goal("energy"))
    text = found.text()
    assert text.startswith("small on vck190 for energy: ")
    assert "taken, one after another:" in text
    assert all(t.move in text for t in (*found.steps, *found.refused))


BAD_GOALS = [
    (lambda: Goal("beauty"), "objective 'beauty' is unknown; choose one of latency, throughput"),
    (lambda: Goal(bandwidth_share=0), "bandwidth_share 0 must be above 0, at most 1"),
    (lambda: map_model(graphs.small_mamba2(), VCK190, Goal(budget={"wood": 3})), "wood is no reso"),
    (lambda: map_model(graphs.small_mamba2(), VCK190, Goal(budget={"lut": 99})), "LUT more; allow"),
]


@pytest.mark.parametrize(("make", "sentence"), BAD_GOALS)
def test_what_is_no_goal_is_refused(make, sentence):
    with pytest.raises(UserError) as caught:
        make()
    assert sentence in str(caught.value)
