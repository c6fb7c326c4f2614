"""The modules set beside LightMamba's compute what theirs do, in units of 8 lanes."""

import numpy as np
import pytest

from cosim.reference import run
from rtl.units.plan import unit_plans
from rtl.units.unit import unit_block
from tests.benchmarks.lightmamba_modules import DAH, DBU, LANES, design_of, modules
from tests.rtl.units.check import check_drawn

MODELS = modules()


def inputs(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        n: rng.integers(t.lo, t.hi, (1, *t.shape), endpoint=True)
        for n, t in MODELS[name].inputs.items()
    }


@pytest.mark.parametrize(("name", "bits", "down"), [(DAH, 34, 6), (DBU, 37, 11)])
def test_a_module_computes_what_theirs_does(name, bits, down):
    """Their C++: an 8-bit product in so many bits, shifted left, then right, kept in 32 bits."""
    given = inputs(name)
    a, b, s, t = (given[n].astype(object) for n in "abst")
    shifted = (a * b) * 2 ** (s + t)
    assert np.abs(shifted).max() < 2 ** (bits - 1)  # their width holds it
    want = shifted // 2**down
    assert np.array_equal(run(MODELS[name], given).outputs["y"].astype(object), want)


@pytest.mark.parametrize("name", MODELS)
def test_a_module_is_one_unit_of_eight_lanes_that_gives_its_bits(name):
    model = MODELS[name]
    design = design_of(model)
    (unit,) = (u for u in design.units if u.kind == "vector")
    assert unit.lanes == LANES
    plan = unit_plans(model, design)[unit.name]
    assert all(f.depth == 2 for f in plan.out)
    check_drawn(model, design, plan, unit_block(plan), ("random", "lo", "hi"))
