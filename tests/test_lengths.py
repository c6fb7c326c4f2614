"""Costs by length are those of the simulation at each length."""

import pytest

from cosim.design import Workload
from cosim.flow.lengths import price_lengths
from cosim.machine import load_machine
from hw_models.serve import serve
from reports.lengths import sentences
from tests.hw_models.graphs import small_mamba2, typeseg

MACHINE = load_machine("u280")


@pytest.fixture(scope="module")
def model():
    return small_mamba2()


def test_each_row_is_what_a_simulation_of_that_length_says(model):
    found = price_lengths("w4a4", model, MACHINE, (0, 3, 1000), (1, 7, 33)).rows
    assert [(r.phase, r.tokens) for r in found] == [
        ("decode", 0), ("decode", 3), ("decode", 1000),
        ("prefill", 1), ("prefill", 7), ("prefill", 33),
    ]  # fmt: skip
    for row in found:
        is_prompt = row.phase == "prefill"
        load = Workload("prefill", row.tokens) if is_prompt else Workload(context=row.tokens)
        whole = serve(model, MACHINE, load).phases[0]
        assert row.cycles_per_token == whole.cycles_per_token
        assert row.energy_pj_per_token == whole.energy_pj_per_token
        count = row.tokens if is_prompt else 1
        assert row.seconds == pytest.approx(count / whole.tokens_per_second, rel=1e-12)


def test_a_recurrent_model_generates_at_one_cost_after_any_context(model):
    found = price_lengths("w4a4", model, MACHINE, (1, 64, 1 << 20), ()).rows
    assert len({(r.cycles_per_token, r.energy_pj_per_token) for r in found}) == 1
    assert "flat" in sentences(found)[0]


def test_a_model_that_generates_nothing_has_no_lengths():
    assert price_lengths("w4a4", typeseg(), MACHINE).rows == ()
