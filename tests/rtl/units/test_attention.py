"""An attention unit: bits of the operators' meaning, cycles of the model, rings that wrap."""

import random

import pytest

from cosim.design import Choices, Lanes, Unit, sized_design
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from cosim.ops import Attend
from rtl.units import attention, seen
from rtl.units.plan import unit_plans
from rtl.units.unit import unit_block
from tests.rtl.simulators import ALL
from tests.rtl.units.attending import attending, drawn
from tests.rtl.units.check import check_drawn

U280 = load_machine("u280")


def design_of(model, lanes, chain=4, shallow=32):
    choices = Choices(
        Lanes(2, 2, lanes, chain, 16), units=(Unit("attention", "attention", lanes),),
        shallow_beats=shallow,
    )  # fmt: skip
    return sized_design(model, U280, choices)


def run(model, lanes, seed=0, hows=("random", "ends"), simulator="pyrtl", chain=4, shallow=32):
    design = design_of(model, lanes, chain, shallow)
    plan = unit_plans(model, design)["attention"]
    node = next(n for n in plan.folded.graph.nodes if isinstance(n.op, Attend))
    places = plan.folded.graph.types[node.inputs[1]].shape[0]
    # Past the ring's end, where the context goes on.
    tokens = min(plan.folded.graph.types["position"].hi + 1, places + 3)
    block = unit_block(plan)
    check_drawn(model, design, plan, block, hows, seed, simulator, (seed, lanes), tokens)


def run_seed(seed, simulator="pyrtl", hows=("mixed", "ends")):
    rng = random.Random(seed)
    model, lanes = drawn(rng)
    run(model, lanes, seed, hows, simulator, rng.choice([1, 2, 4, 7]), rng.choice([1, 2, 5, 32]))


@pytest.mark.parametrize("seed", range(10))
def test_any_attention_is_exact_in_bits_and_cycles(seed):
    run_seed(seed)


@pytest.mark.slow
def test_many_more_attentions_are_exact_in_bits_and_cycles():
    for seed in range(100, 260):
        run_seed(seed)


@pytest.mark.parametrize("simulator", ALL[1:])
def test_the_exported_verilog_is_exact_too(simulator):
    for seed in (1, 4):
        run_seed(seed, simulator, ("ends",))


@pytest.mark.parametrize("how", ["lo", "hi", "zero", "ends", "small"])
def test_scores_at_their_ends_are_exact(how):
    """Queries and keys of -128 and 127 alone: the largest scores, of both signs, at every place."""
    run(attending(Attend(4, 8), 4, 2, 4, 8, most_scale=60000), 4, 3, (how,))


def test_a_window_narrower_than_the_ring_forgets_at_its_edge():
    run(attending(Attend(2, 5), 2, 1, 2, 8), 2, 1)


def test_each_layer_has_its_cache_and_scale():
    run(attending(Attend(4, 8), 2, 2, 4, 8, layers=3), 2, 1)


BREAKS = {
    "rise": (attention._Datapath, "_tops", lambda old, s, o: (old(s, o)[0], old(s, o)[0])),
    "ring": (seen.Seen, "masked", lambda old, s, m, p, t, pipe: old(s, m, p ^ 1, t, pipe)),
    "turns": (attention._Datapath, "_constants", lambda old, s, k, at: old(s, k, at)[::-1]),
}


@pytest.mark.parametrize("what", BREAKS)
def test_the_check_sees_a_broken_unit(monkeypatch, what):
    model = attending(Attend(4, 8), 2, 1, 4, 8)
    run(model, 2)
    owner, name, broken = BREAKS[what]
    old = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args: broken(old, *args))
    with pytest.raises(AssertionError):
        run(model, 2)


@pytest.mark.parametrize(
    ("op", "lanes", "says"),
    [
        (Attend(4, 8), 3, "3 lanes do not divide 2 heads of 4 channels"),
        (Attend(3, 8), 2, "8 places in tiles of 3"),
        (Attend(2, 8), 8, "of 1 rows a place; give a tile"),
    ],
)
def test_what_cannot_be_laid_out_is_a_sentence(op, lanes, says):
    model = attending(op, 4, 2, 4, 8)
    with pytest.raises(UserError, match=says):
        run(model, lanes)
