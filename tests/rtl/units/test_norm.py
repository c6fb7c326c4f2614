"""A norm unit: bits of `rms_norm` and `center`, cycles of the model, tasks one after another."""

import random
from functools import cache

import pytest

from cosim.design import Choices, Lanes, Unit, sized_design
from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.types import TensorType, i
from cosim.machine import load_machine
from cosim.ops import Center, RmsNorm
from quant.from_config import lower_config
from quant.recipes import find_recipe
from rtl.units import cuts, norm, vectors
from rtl.units.plan import unit_plans
from rtl.units.unit import unit_block
from tests.hw_models import graphs
from tests.rtl.simulators import ALL
from tests.rtl.units.check import check_drawn
from tests.rtl.units.filled import filled
from tests.rtl.units.singles import singles

VCK190 = load_machine("vck190")
CORNERS = ("random", "lo", "hi", "ends", "zero")


def design_of(model, lanes, chain, shallow=32):
    """Return a design whose norm unit is fed by makers of `chain` lanes."""
    choices = Choices(
        Lanes(2, 2, 8, chain, 16), units=(Unit("norm", "norm", lanes),), shallow_beats=shallow
    )
    return sized_design(model, VCK190, choices)


def norm_of(*args):
    """Return the plan of the norm unit of such a design."""
    return unit_plans(args[0], design_of(*args))["norm"]


def run(model, lanes, chain, seed, hows=CORNERS, simulator="pyrtl", shallow=32):
    design, plan = design_of(model, lanes, chain, shallow), norm_of(model, lanes, chain, shallow)
    block = unit_block(plan)
    check_drawn(model, design, plan, block, hows, seed, simulator, (seed, lanes, chain))


def drawn(rng, lanes):
    """Draw up to three norms: a vector of any size, or several that fill a row or more."""
    cases = []
    for _ in range(rng.randint(1, 3)):
        eps = rng.choice([1, 7, 1 << 20, 123456789])
        op = rng.choice([RmsNorm(rng.randint(0, 12), eps, i(rng.choice([8, 16]))), Center()])
        shape = (rng.randint(1, 40),)
        if rng.random() < 0.4:
            shape = (rng.randint(2, 5), rng.randint(lanes, 4 * lanes))
        cases.append((op, shape, f"i{rng.choice([4, 8, 16, 24])}"))
    return singles(*cases)


def run_seed(seed, simulator="pyrtl", hows=CORNERS):
    rng = random.Random(seed)
    lanes, chain = rng.choice([1, 2, 3, 4, 5, 8, 16]), rng.choice([1, 2, 3, 4, 8, 16])
    model = drawn(rng, lanes)
    run(model, lanes, chain, seed, hows, simulator, rng.choice([1, 2, 5, 32]))


@pytest.mark.parametrize("seed", range(8))
def test_norms_of_any_size_are_exact_in_bits_and_cycles(seed):
    run_seed(seed)


@pytest.mark.slow
def test_many_more_norms_are_exact_in_bits_and_cycles():
    for seed in range(100, 180):
        run_seed(seed)


@pytest.mark.parametrize("simulator", ALL[1:])
def test_the_exported_verilog_is_exact_too(simulator):
    for seed in range(4) if simulator == "icarus" else (2, 9):
        run_seed(seed, simulator, ("ends",))


@pytest.mark.parametrize("lanes", [4, 16])
def test_a_model_has_one_unit_for_its_norms_with_an_eps_per_layer(lanes):
    plan = norm_of(filled(graphs.small_mamba2()), lanes, 8)
    assert {p.task.part for p in plan.jobs} == {"block", "after"}
    run(filled(graphs.small_mamba2()), lanes, 8, 1, ("random", "ends"))


@cache
def lightmamba(layers=3, recipe="lightmamba", heads=3, head_dim=16, state=8):
    """Return LightMamba's released graph at small sizes, its constants drawn at their ends."""
    config = graphs.Mamba2(
        vocab_size=50, hidden_size=24, intermediate_size=heads * head_dim, state_size=state,
        num_hidden_layers=layers, num_heads=heads, head_dim=head_dim, n_groups=1,
    )  # fmt: skip
    return filled(lower_config("small", config, find_recipe(recipe)), "ends")


@pytest.mark.parametrize("lanes", [4, pytest.param(5, marks=pytest.mark.slow), 16])
def test_norms_by_table_stand_beside_one_by_root(lanes):
    """Two tables, a weight for each element and layer, and the last norm of another operator."""
    plan = norm_of(lightmamba(), lanes, 8)
    assert {plan.folded.ops(j.task.nodes[0])[0].name for j in plan.jobs} == {
        "rms_norm", "rms_table",
    }  # fmt: skip
    run(lightmamba(), lanes, 8, 1, ("random", "lo", "ends", "zero"))


@pytest.mark.parametrize("how", ["_tables", "_weights"])
def test_a_wrong_table_or_weight_would_be_seen(monkeypatch, how):
    old = getattr(norm._Tabled, how)
    broken = {
        "_tables": lambda s: (old(s)[0], [[0] * len(own) for own in old(s)[1]]),
        "_weights": lambda s, at: old(s, at)[::-1],
    }[how]
    monkeypatch.setattr(norm._Tabled, how, broken)
    with pytest.raises(AssertionError):
        run(lightmamba(), 4, 8, 1, ("random", "ends"))


def eps_of(k):
    return RmsNorm(4, 1 + 3 * 10**9 * k, i(16))


def test_each_layer_has_its_own_eps(monkeypatch):
    """Three layers of one folded graph, whose eps is far from each other's."""
    b = GraphBuilder("step")
    value = b.input("x", TensorType.full(i(16), (10,)))
    for k in range(3):
        value = b.add(f"layers.{k}.norm", eps_of(k), value)
    b.output("y", b.add("final", eps_of(9), value))
    plan = norm_of(graphs.model_of(b), 4, 4)
    assert plan.turns == 3
    run(graphs.model_of(b), 4, 4, 5)
    monkeypatch.setattr(
        vectors.Counters, "by_turn", lambda s, v, at: s.by_job([o[0] for o in v], at)
    )
    with pytest.raises(AssertionError):
        run(graphs.model_of(b), 4, 4, 5)


@pytest.mark.parametrize("what", ["waits too short", "never opens"])
def test_the_checks_see_a_broken_unit(monkeypatch, what):
    model = singles((RmsNorm(6, 5, i(16)), (4, 32), "i16"))
    run(model, 4, 8, 1, ("random",))
    if what == "waits too short":
        monkeypatch.setattr(vectors, "most_waiting", lambda *_: 8)
    else:
        summed = vectors.Vectors.summed
        monkeypatch.setattr(
            vectors.Vectors, "summed",
            lambda s, *a: (setattr(s, "opens", s.opens & ~s.opens), summed(s, *a))[1],
        )  # fmt: skip
    with pytest.raises(AssertionError):
        run(model, 4, 8, 1, ("random",))


@pytest.mark.parametrize("size", [4, 5, 6, 7, 8, 9, 11, 13])
@pytest.mark.parametrize("chain", [2, 4])
def test_vectors_that_begin_inside_a_row_are_exact(size, chain):
    """Rows hold the end of one vector and the beginning of the next, at all places in turn."""
    cases = [(op, (9, size), "i16") for op in (RmsNorm(6, 5, i(16)), Center())]
    run(singles(*cases), 4, chain, size, ("random", "ends"))


@pytest.mark.parametrize("what", ["ages", "behind"])
def test_a_row_of_two_vectors_taken_for_one_would_be_seen(monkeypatch, what):
    broken = {
        "ages": lambda c: [[0] * c.lanes] * int(c.passing.emits.sum()),
        "behind": lambda c: [0] * c.passing.steps,
    }[what]
    monkeypatch.setattr(cuts.Cuts, what, property(broken))
    with pytest.raises(AssertionError):
        run(singles((RmsNorm(6, 5, i(16)), (5, 6), "i16")), 4, 4, 1, ("random",))


def test_groups_of_a_models_gated_norm_share_rows():
    run(filled(graphs.small_mamba2(groups=2)), 16, 8, 1, ("random", "ends"))


def test_rows_in_which_several_vectors_end_are_refused_with_a_sentence():
    model = singles((Center(), (3, 5), "i8"))
    with pytest.raises(UserError, match=r"3 vectors of 5 elements are shorter than the rows of 8"):
        unit_block(norm_of(model, 8, 4))
