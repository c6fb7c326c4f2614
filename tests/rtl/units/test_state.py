"""State units give the reference's bits in the model's cycles, states kept from token to token."""

import random
from dataclasses import replace

import numpy as np
import pytest

from cosim.design import Choices, Lanes, sized_design
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from cosim.ops import GroupRead
from rtl.elaborate import elaborate, one_block
from rtl.netlist import ports
from rtl.units.kept import words_of
from rtl.units.plan import unit_plans
from rtl.units.unit import unit_block
from tests.rtl.simulators import needs
from tests.rtl.units.check import check_unit, draw_design
from tests.rtl.units.models import small, with_initial_states
from tests.rtl.units.test_norm import lightmamba

OFF_CHIP = (("weights", "chip"), ("states", "memory"), ("embedding", "chip"))


def check_drawn(seed: int, simulator: str = "pyrtl") -> None:
    rng = random.Random(seed)
    state = rng.choice(["int16", "int16", "int24"])
    model = small("w8a8", rng.choice(["even", "odd"]), state, layers=rng.choice([1, 2, 3]))
    design, name = draw_design(model, rng, ("state",))
    check_unit(model, design, name, seeds=(seed,), simulator=simulator)


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_state_unit_equals_the_reference_and_the_model(seed):
    check_drawn(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 46))
def test_many_drawn_state_units_equal_the_reference_and_the_model(seed):
    check_drawn(seed)


@pytest.mark.parametrize("simulator", [needs("icarus"), needs("verilator", pytest.mark.slow)])
def test_the_verilog_of_a_state_unit_does_the_same(simulator):
    check_drawn(101, simulator)


# Whole groups of 8 a row; the axis of 10 has groups of 8 and 2.
@pytest.mark.parametrize(
    ("sizes", "lanes"),
    [
        ("even", 8),
        ("even", 16),
        ("odd", 10),
        ("odd", 20),
        pytest.param("odd", 40, marks=pytest.mark.slow),
    ],
)
def test_states_of_codes_with_a_scale_per_group_come_back_as_they_went(sizes, lanes):
    model = small("w8a8", sizes, "int8 group")
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, lanes, 8, 64))
    assert check_unit(model, design, "state", seeds=(0,)) == 3


def test_lanes_that_cut_a_group_of_states_are_refused():
    model = small("w8a8", "even", "int8 group")
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, 4, 8, 64))
    with pytest.raises(UserError, match=r"4 lanes cut groups of state .* hold whole groups"):
        unit_block(unit_plans(model, design)["state"])


def test_a_state_that_comes_back_at_once_waits_until_it_is_written():
    model = small("w8a8", "odd", layers=1)
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, 100, 8, 64))
    assert check_unit(model, design, "state", tokens=4, seeds=(0,)) == 3


def test_an_element_that_several_lanes_take_is_one_of_the_word():
    elements = np.array([[3, 3, 2, -1], [-1, -1, -1, -1], [5, 4, 4, 4]])
    assert words_of(elements).tolist() == [[3, 2], [-1, -1], [5, 4]]


def test_the_first_round_starts_from_the_initial_states():
    """They are in no memory: a flag gives them until the first round is over."""
    model = with_initial_states(small("w8a8", "odd"))
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, 20, 16, 64))
    assert check_unit(model, design, "state", tokens=2, seeds=(3,)) == 3


# Off chip the states come and go by a beat a step; what comes before the first token is noise.
@pytest.mark.parametrize(
    ("sizes", "layers", "state", "lanes"),
    [("even", 2, "int16", 16), ("odd", 2, "int16", 12), ("odd", 1, "int24", 7),
     pytest.param("odd", 2, "int8 group", 10, marks=pytest.mark.slow),
     pytest.param("even", 1, "int16", 128, marks=pytest.mark.slow)],
)  # fmt: skip
def test_states_off_chip_come_and_go_by_streams(sizes, layers, state, lanes):
    model = small("w8a8", sizes, state, layers=layers)
    choices = Choices(
        Lanes(8, 8, lanes, 8, 64), depths=(("state.out", 3), ("state.in", 2)), places=OFF_CHIP
    )
    design = sized_design(model, load_machine("u280"), choices)
    assert check_unit(model, design, "state", seeds=(0, 1)) == 4


def test_a_design_with_states_off_chip_has_ports_for_them():
    model = small("w8a8", "even")
    choices = Choices(Lanes(8, 8, 16, 8, 64), places=OFF_CHIP)
    design = sized_design(model, load_machine("u280"), choices)
    made = elaborate(model, design)
    into, out = ports(made.block("state"))
    whole, _ = ports(one_block(model, design))
    assert {w.name for w in whole} >= {"state_in_data", "state_in_valid", "state_out_ready"}
    assert {w.name for w in into} >= {"state_in_data", "state_in_valid", "state_out_ready"}
    assert {w.name: len(w) for w in out}["state_out_data"] == 16 * 16


def regrouped(model, group):
    """Let the read-out quantise in groups of another size; the released graph has 8 everywhere."""
    (segment,) = model.segments
    nodes = tuple(
        replace(n, op=replace(n.op, group=group)) if isinstance(n.op, GroupRead) else n
        for n in segment.graph.nodes
    )
    graph = replace(segment.graph, nodes=nodes)
    return replace(model, segments=(replace(segment, graph=graph),))


# Heads, channels, places of the sum, its groups, lanes: whole groups, and last ones of 1 to 3
# places; a block of columns and several.
READS = [
    ("lightmamba", 3, 16, 8, 8, 16),
    ("lightmamba-mended", 2, 16, 16, 5, 8),
    *(
        pytest.param(*each, marks=pytest.mark.slow)
        for each in (
            ("lightmamba", 3, 16, 8, 8, 8), ("lightmamba", 1, 32, 24, 8, 16),
            ("lightmamba", 2, 8, 8, 7, 8), ("lightmamba-mended", 2, 24, 16, 3, 24),
            ("lightmamba-mended", 2, 24, 8, 6, 8),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("recipe", "heads", "channels", "places", "group", "lanes"), READS)
def test_a_state_is_read_through_a_second_quantiser(recipe, heads, channels, places, group, lanes):
    model = regrouped(lightmamba(2, recipe, heads, channels, places), group)
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, lanes, 8, 64))
    assert check_unit(model, design, "state", seeds=(0, 1), simulator="compiled") == 4


@pytest.mark.parametrize("lanes", [32, 12])
def test_a_read_out_needs_lanes_that_divide_its_columns(lanes):
    design = sized_design(lightmamba(), load_machine("u280"), Lanes(8, 8, lanes, 8, 64))
    said = r"cut groups of state" if lanes == 12 else r"32 lanes for a read-out of 16 columns"
    with pytest.raises(UserError, match=said):
        unit_block(unit_plans(lightmamba(), design)["state"])
