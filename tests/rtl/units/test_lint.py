"""Verilog of the units is clean under -Wall, but for what is listed."""

import pytest

from cosim.design import Choices, Lanes, sized_design
from cosim.machine import load_machine
from rtl.export import ACCEPTED_LINT, export
from rtl.simulators import icarus, verilator
from rtl.units.plan import unit_plans
from rtl.units.unit import unit_block
from tests.hw_models import graphs
from tests.rtl.simulators import needs
from tests.rtl.units.filled import filled
from tests.rtl.units.models import small
from tests.rtl.units.test_hadamard import hadamard_of
from tests.rtl.units.test_matrix import matrix_of
from tests.rtl.units.test_norm import lightmamba, norm_of

UNITS = {
    "weights on chip": lambda: matrix_of(filled(graphs.small_mamba2()), 5, 12, 8)[1:3],
    "weights streamed": lambda: matrix_of(filled(graphs.small_mamba2()), 5, 12, 8, "memory")[1:3],
    "norms by root": lambda: (norm_of(filled(graphs.small_mamba2(groups=2)), 16, 8), {}),
    "norms by table": lambda: (norm_of(lightmamba(), 4, 8), {}),
    "a stream of rotations": lambda: (hadamard_of(filled(graphs.small_mamba2()), 4, 4), {}),
    "gathered rotations": lambda: (hadamard_of(filled(graphs.small_mamba2()), 32, 32), {}),
}


def chain_of(name, lanes, places="chip"):
    """Return the plan of a chain's unit of a small quantised model."""
    model = small("w4a4", "odd")
    where = (("weights", "chip"), ("states", places), ("embedding", "chip"))
    design = sized_design(
        model, load_machine("u280"), Choices(Lanes(8, 8, lanes, lanes, 64), places=where)
    )
    return unit_plans(model, design)[name], {}


UNITS |= {
    "a group's scale over rows": lambda: chain_of("vector.in_proj.q", 3),
    "a group's scale in a row": lambda: chain_of("vector.in_proj.q", 16),
    "tables by layer": lambda: chain_of("vector.k", 4),
    "rows of three streams": lambda: chain_of("vector.gated", 12),
    "a winner over rows": lambda: chain_of("vector.next", 8),
    "a filter": lambda: chain_of("fir", 12),
    "states on chip": lambda: chain_of("state", 12),
    "states off chip": lambda: chain_of("state", 20, "memory"),
}


@pytest.mark.parametrize("what", UNITS)
@pytest.mark.parametrize("simulator", [needs("icarus"), needs("verilator")])
def test_verilog_of_units_is_lint_clean(what, simulator):
    plan, extra = UNITS[what]()
    lint = {"icarus": icarus.lint, "verilator": verilator.lint}[simulator]
    said = lint(export(unit_block(plan, extra), "unit"))
    assert [line for line in said if not any(name in line for name in ACCEPTED_LINT)] == []


@pytest.mark.parametrize("name", ["vector.in_proj.q", "vector.gated", "fir", "state"])
def test_the_verilog_of_a_chain_is_the_same_each_time(name):
    plan, _ = chain_of(name, 12)
    first, second = (export(unit_block(plan), "unit") for _ in range(2))
    assert (first.text, first.files) == (second.text, second.files)
