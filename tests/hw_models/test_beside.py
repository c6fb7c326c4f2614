"""A simulation beside what was published of the same model, bits and machine, and no other."""

import pytest

from cosim.design import Workload
from cosim.machine import list_machines, load_machine
from hw_models.simulate import simulate
from hw_models.validate.beside import beside, linears_of
from hw_models.validate.published import PRODUCTS, PUBLISHED, published
from quant.configs import find_config
from quant.from_config import lower_config
from quant.recipes import find_recipe
from tests.hw_models import graphs

BOARD = load_machine("lightmamba-vck190")


def test_each_published_case_has_a_machine_file_and_is_named_once():
    cases = [(p.machine, p.bits) for p in PUBLISHED]
    assert len(set(cases)) == len(cases)
    assert {p.machine for p in PUBLISHED} <= set(list_machines())
    # As the papers print them: 7.21 and 3.61, 2.25 and 1.45, 93, 5.68.
    assert [p.given("speed") for p in PUBLISHED] == [7.21, 3.61, 93, 5.68]
    assert published("lightmamba-vck190", (8, 8)).given("energy") == 1.45
    # Of 2.7 G parameters, 2.5716 G multiply in the layers (64 x (10576 + 5120) x 2560).
    assert PRODUCTS == 64 * (10576 + 5120) * 2560 == 2_571_632_640


@pytest.mark.parametrize(("name", "bits"), [
    ("w4a4", (4, 4)), ("w8a8-rtn", (8, 8)), ("w8a6", (8, 6)), ("lightmamba", (4, 4)),
])  # fmt: skip
def test_the_bits_are_those_of_most_products_and_the_head_counts_for_nothing(name, bits):
    model = lower_config("m", find_config("mamba2-130m"), find_recipe(name))
    found = linears_of(model)
    assert found.bits == bits
    assert found.macs == 24 * (3352 * 768 + 768 * 1536)  # its config; the head has 50288 x 768 more


def test_a_model_without_layers_has_no_linear_layers_in_them():
    assert linears_of(graphs.projection()).macs == 0


def test_the_published_case_has_a_row_per_figure_and_one_in_its_own_widths():
    model = lower_config("any name", find_config("mamba2-2.7b"), find_recipe("w4a4"))
    found = simulate(model, BOARD)
    rows = beside(model, BOARD, Workload(), found).rows
    first, *rest = rows
    assert (first.figure, first.given) == ("speed", 7.21)
    assert "its own widths" in first.rests_on
    # 64 products a cycle at 400 MHz make 9.95 tokens/s at the very most.
    assert 5 < first.modelled < 9.95
    assert [r.figure for r in rest] == [
        "speed", "energy", "LUT", "FF", "DSP", "BRAM", "URAM",
    ]  # fmt: skip
    assert rest[0].modelled == found.tokens_per_second
    assert rest[0].error == pytest.approx(100 * (found.tokens_per_second / 7.21 - 1))
    assert rest[1].modelled == pytest.approx(1e12 / found.energy_pj_per_token)
    assert rest[-1].modelled == found.design.resources["uram"]
    assert all(r.source and r.rests_on for r in rows)


@pytest.mark.parametrize(("machine", "load", "said"), [
    ("lightmamba-vck190", Workload(), "this is another model"),
    ("lightmamba-u280", Workload(batch=2), "being decoded; this is another model, decode, batch 2"),
    ("u280", Workload(), "no published accelerator is described by u280; there are lightmamba-"),
])  # fmt: skip
def test_any_other_case_is_one_sentence_and_no_row(machine, load, said):
    model, board = graphs.small_mamba2(), load_machine(machine)
    got = beside(model, board, load, simulate(model, board))
    assert got.rows == ()
    assert said in got.note
    assert got.note.startswith("nothing to compare: ")


def test_other_bits_on_a_published_board_are_named():
    model = graphs.mamba2_27b(8)
    board = load_machine("lightmamba-u280")
    got = beside(model, board, Workload(), simulate(model, board))
    assert got.rows == ()
    assert got.note.endswith("in W4A4, one sequence being decoded; this is W8A8")
