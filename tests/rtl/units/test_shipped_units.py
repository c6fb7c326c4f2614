"""The matrix, norm and Hadamard units of the shipped model, at its sizes, are exact."""

import pytest

from rtl.units.unit import unit_block
from tests.rtl.simulators import needs
from tests.rtl.units.alone import case_of, check
from tests.rtl.units.shipped import shipped_plans

RECIPES = ("w4a4", "w8a8")


def run(recipe, board, unit, hows, simulator="pyrtl"):
    plan = shipped_plans(recipe, board)[unit]
    block = unit_block(plan)
    for how in hows:
        case = case_of(plan, False, None, 1, how, rounds=1)
        check(block, case, simulator, (recipe, board, unit, how))


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
