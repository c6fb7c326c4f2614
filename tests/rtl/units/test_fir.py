"""FIR units give the reference's bits in the model's cycles, windows kept from token to token."""

import random
from dataclasses import replace

import pytest

from cosim.design import Choices, Lanes, Unit, sized_design
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from rtl.units.plan import unit_plans
from rtl.units.unit import unit_block
from tests.rtl.simulators import needs
from tests.rtl.units.check import check_unit, draw_design
from tests.rtl.units.models import small, with_initial_states
from tests.rtl.units.test_norm import lightmamba


def check_drawn(seed: int, simulator: str = "pyrtl") -> None:
    rng = random.Random(seed)
    model = small("w8a8", rng.choice(["even", "odd"]), layers=rng.choice([1, 2, 3]))
    design, name = draw_design(model, rng, ("fir",))
    check_unit(model, design, name, tokens=6, seeds=(seed,), simulator=simulator)


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_filter_equals_the_reference_and_the_model(seed):
    check_drawn(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 46))
def test_many_drawn_filters_equal_the_reference_and_the_model(seed):
    check_drawn(seed)


@pytest.mark.parametrize("simulator", [needs("icarus"), needs("verilator", pytest.mark.slow)])
def test_the_verilog_of_a_filter_does_the_same(simulator):
    check_drawn(100, simulator)


def test_a_window_that_comes_back_at_once_waits_until_it_is_written():
    """Without layers, with all channels in one row: each token waits for the last one's write."""
    model = small("w8a8", "even", layers=1)
    wide = Unit("fir", "fir", 90)
    design = sized_design(
        model, load_machine("u280"), Choices(Lanes(8, 8, 8, 90, 64), units=(wide,))
    )
    assert check_unit(model, design, "fir", tokens=8, seeds=range(3)) == 5


def test_the_first_round_starts_from_the_initial_states():
    """They are in no memory: a flag gives them until the first round is over."""
    model = with_initial_states(small("w8a8", "odd"))
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, 20, 16, 64))
    assert check_unit(model, design, "fir", tokens=2, seeds=(3,)) == 3


@pytest.mark.parametrize("lanes", [5, pytest.param(8, marks=pytest.mark.slow)])
def test_windows_of_codes_and_of_exponents_are_filtered_together(lanes):
    """The convolution of LightMamba's released graph; its constants are drawn at their ends."""
    model = lightmamba()
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, 8, lanes, 64))
    assert check_unit(model, design, "fir", tokens=6, seeds=(0, 1)) == 4


def test_a_filter_of_something_else_is_refused():
    model = small("w8a8", "even")
    choices = Choices(Lanes(8, 8, 8, 8, 64), fused=False)
    plans = unit_plans(model, sized_design(model, load_machine("u280"), choices))
    (name,) = [n for n, p in plans.items() if n.startswith("fir")]
    plan = plans[name]
    (job,) = plan.jobs
    alone = replace(job.task, nodes=job.task.nodes[-1:])
    with pytest.raises(UserError, match="does fir; wires of a FIR unit do push, fir or"):
        unit_block(replace(plan, jobs=(replace(job, task=alone),)))
