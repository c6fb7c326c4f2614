"""Coverage counts what is left out, and a simulation refuses to leave anything out."""

import pytest

from cosim.ir.errors import UserError
from cosim.machine import load_machine
from hw_models.coverage import cover
from hw_models.simulate import simulate
from tests.hw_models import graphs
from tests.test_design import Odd


def test_a_whole_model_is_covered_and_its_products_are_counted():
    """Linear layers of three layers and the head, convolutions, states (3 products), norms."""
    found = cover(graphs.small_mamba2(layers=3))
    inner, n, rows = 48, 12, 126
    linear = rows * 24 + 24 * inner
    layer = linear + (inner + 2 * n) * 4 + inner * n * 3 + 24 + inner
    assert found.macs == found.macs_covered == 3 * layer + 50 * 24 + 24
    assert found.is_whole
    assert found.operators_share == found.bytes_share == 1.0
    assert found.text().endswith(" bytes")


def test_what_no_unit_carries_is_named_and_counted():
    found = cover(graphs.with_operator(Odd(), 8))
    assert (found.operators, found.operators_covered, found.missing) == (1, 0, ("odd",))
    assert "0.00 % of 1 operators" in found.text()
    assert found.text().endswith("; not odd")


def test_a_simulation_leaves_nothing_out():
    with pytest.raises(UserError, match="no unit carries what is missing"):
        simulate(graphs.with_operator(Odd(), 8), load_machine("u280"))
