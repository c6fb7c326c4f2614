"""The matrix, norm and Hadamard units of the shipped model, at its sizes, are exact."""

import pytest

from rtl.units.plan import unit_plans
from rtl.units.unit import unit_block
from tests.rtl.simulators import needs
from tests.rtl.units.check import check_drawn
from tests.rtl.units.shipped import shipped

RECIPES = ("w4a4", "w8a8")


def run(recipe, board, unit, hows, simulator="pyrtl"):
    model, design = shipped(recipe, board, "ends")
    plan = unit_plans(model, design)[unit]
    what = (recipe, board, unit)
    check_drawn(model, design, plan, unit_block(plan), hows, 1, simulator, what, tokens=1)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("unit", ["norm", "hadamard"])
@pytest.mark.parametrize("board", ["kv260", "u280"])
def test_the_narrow_units_of_the_shipped_model_are_exact(recipe, unit, board):
    run(recipe, board, unit, ("random", "ends"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("board", ["kv260", "zcu104"])
def test_its_matrix_unit_on_small_boards_is_exact(recipe, board):
    run(recipe, board, "matrix", ("random", "ends"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("simulator", [needs("verilator")])
def test_its_matrix_unit_of_36_by_64_products_is_exact_in_verilog(recipe, simulator):
    run(recipe, "u280", "matrix", ("random", "lo", "hi", "ends"), simulator)
