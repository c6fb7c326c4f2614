"""Verilog of matrix, norm and Hadamard units is clean under -Wall, but for what is listed."""

import pytest

from rtl.export import ACCEPTED_LINT, export
from rtl.simulators import icarus, verilator
from rtl.units.unit import unit_block
from tests.hw_models import graphs
from tests.rtl.simulators import needs
from tests.rtl.units.filled import filled
from tests.rtl.units.test_hadamard import hadamard_of
from tests.rtl.units.test_matrix import matrix_of
from tests.rtl.units.test_norm import lightmamba, norm_of

UNITS = {
    "weights on chip": lambda: matrix_of(filled(graphs.small_mamba2()), 5, 12, 8)[:2],
    "weights streamed": lambda: matrix_of(filled(graphs.small_mamba2()), 5, 12, 8, "memory")[:2],
    "norms by root": lambda: (norm_of(filled(graphs.small_mamba2(groups=2)), 16, 8), {}),
    "norms by table": lambda: (norm_of(lightmamba(), 4, 8), {}),
    "a stream of rotations": lambda: (hadamard_of(filled(graphs.small_mamba2()), 4, 4), {}),
    "gathered rotations": lambda: (hadamard_of(filled(graphs.small_mamba2()), 32, 32), {}),
}


@pytest.mark.parametrize("what", UNITS)
@pytest.mark.parametrize("simulator", [needs("icarus"), needs("verilator")])
def test_verilog_of_units_is_lint_clean(what, simulator):
    plan, extra = UNITS[what]()
    lint = {"icarus": icarus.lint, "verilator": verilator.lint}[simulator]
    said = lint(export(unit_block(plan, extra), "unit"))
    assert [line for line in said if not any(name in line for name in ACCEPTED_LINT)] == []
