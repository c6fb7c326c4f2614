"""FIR units give the reference's bits in the model's cycles, windows kept from token to token."""

import random

import pytest

from cosim.design import Choices, Lanes, Unit, sized_design
from cosim.machine import load_machine
from tests.rtl.simulators import needs
from tests.rtl.units.check import check_unit, draw_design
from tests.rtl.units.models import small, with_initial_states


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
