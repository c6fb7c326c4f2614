"""The chains, the filter and the state unit of the shipped model, at its sizes, are exact."""

import pytest

from rtl.units.plan import unit_plans
from tests.rtl.units.check import check_unit
from tests.rtl.units.shipped import shipped

RECIPES = ("w4a4", "w8a8")
NARROW = ("vector.embed", "vector.k", "vector.B", "vector.C", "vector.next")
WIDE = (
    "vector.norm.in", "vector.in_proj.q", "vector.conv_in", "fir", "vector.act", "vector.ssm.skip",
    "vector.gated", "vector.out_proj.q", "vector.residual_out", "vector.final_norm.in",
    "vector.lm_head.q",
)  # fmt: skip


def test_all_chains_are_named():
    for recipe in RECIPES:
        kinds = {n: p.kind for n, p in unit_plans(*shipped(recipe)).items()}
        chains = {n for n, k in kinds.items() if k in {"vector", "fir", "state"}}
        assert chains == {*NARROW, *WIDE, "state"}


@pytest.mark.parametrize("unit", NARROW)
def test_a_narrow_chain_of_the_shipped_model_is_exact(unit):
    assert check_unit(*shipped("w4a4"), unit, tokens=2) == 3


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("unit", [*WIDE, "state"])
def test_a_wide_chain_of_the_shipped_model_is_exact(unit, recipe):
    """The state unit does 512 elements a cycle in 12 heads of 32 x 32."""
    assert check_unit(*shipped(recipe), unit, tokens=2) == 3
