"""The rows that people and files get: right numbers, with their origins."""

import csv
import io
import json

import pytest

from cosim.ir.errors import InternalError
from reports import accuracy, coverage, energy, exactness, latency, lints, roofline
from reports.accuracy import Accuracy
from reports.exactness import Exactness
from reports.html import page
from reports.roofline import OperatorCost
from reports.summary import Summary, headlines
from reports.table import Column, Table
from tests.reports.example import RECIPES, costs, summary


def test_a_number_without_an_origin_is_refused():
    with pytest.raises(InternalError, match="width = 3 has no origin"):
        Table("t", "T", (Column("width", "width"),), ((3,),))


def test_a_ragged_row_is_refused():
    with pytest.raises(InternalError, match="1 columns"):
        Table("t", "T", (Column("a", "A"),), (("x", "y"),))


def test_text_aligns_and_names_origins():
    columns = (Column("form", "form"), Column("bits", "bits", "measured", ".2f"))
    text = Table("t", "Title", columns, (("float", 1.5), ("w4", None)), note="A note.").text()
    assert text.splitlines() == [
        "Title",
        "  form       bits",
        "         measured",
        "  float      1.50",
        "  w4            –",
        "  A note.",
    ]


def test_csv_keeps_full_precision_and_leaves_unknowns_empty():
    columns = (Column("form", "f"), Column("bits", "b", "measured", ".1f"))
    table = Table("t", "T", columns, (("a,b", 1.23456789012345), ("c", None)))
    assert list(csv.reader(io.StringIO(table.csv()))) == [
        ["form", "bits"],
        ["a,b", "1.23456789012345"],
        ["c", ""],
    ]


def test_excess_is_relative_to_float():
    scores = [Accuracy("float", 10, bits_per_token=2.0), Accuracy("w4", 10, bits_per_token=2.1)]
    table = accuracy.table(scores)
    assert [row[2] for row in table.rows] == [None, pytest.approx(0.05)]
    assert "+5.00%" in table.text()
    assert [bar.text for bar in accuracy.bars(scores).bars] == ["+5.00%"]


def test_a_recipe_better_than_float_shows_its_sign_and_no_bar():
    scores = [Accuracy("float", 10, bits_per_token=2.0), Accuracy("w8", 10, bits_per_token=1.99)]
    [bar] = accuracy.bars(scores).bars
    assert bar.total == 0
    assert bar.text == "-0.50%"


def test_tokens_that_are_no_bytes_are_called_so():
    scores = [Accuracy("float", 10, bits_per_token=2.0, are_bytes=False)]
    assert accuracy.table(scores).columns[1].title == "bits per token"


def test_a_labeller_shows_the_tokens_that_disagree():
    scores = [Accuracy("float", 10, agreement=1.0), Accuracy("w4", 10, agreement=0.97)]
    table = accuracy.table(scores)
    assert [c.key for c in table.columns][:3] == ["form", "excess", "agreement"]
    assert table.rows[1][:3] == ("w4", pytest.approx(0.03), 0.97)


@pytest.mark.parametrize("broken", [{"nodes": 0}, {"tokens": 0}, {"integers": 0}])
def test_an_empty_comparison_is_not_exact(broken):
    good = {"nodes": 2, "tokens": 3, "integers": 6, "differences": 0}
    with pytest.raises(InternalError, match="compared nothing"):
        Exactness("w4", "reference", "torch", **{**good, **broken})


def test_a_difference_says_where():
    with pytest.raises(InternalError):
        Exactness("w4", "reference", "torch", 2, 3, 6, differences=1)
    sentence = "first difference at step/x[0, 1]: 3 against 4"
    check = Exactness("w4", "reference", "torch", 2, 3, 6, 1, sentence)
    assert not check.is_exact
    assert exactness.table([check]).rows[0][-1] == sentence


def test_layers_are_summed_and_nothing_is_lost():
    given = costs(4)
    merged = roofline.merge_layers(given)
    assert {c.node: n for c, n in merged}["layers.*.in_proj"] == 4
    assert len(merged) == 10
    for name in ("cycles", "macs", "operations", "bytes_moved", "bytes_offchip", "energy_pj"):
        assert sum(getattr(c, name) for c, _ in merged) == pytest.approx(
            sum(getattr(c, name) for c in given)
        )


def node(name: str, cycles: int, macs: int, operations: int, moved: float, offchip: float, **other):
    """Return the cost of a node."""
    fixed = {"segment": "s", "op": "linear", "unit": "matrix", "task": "t", "bound": "compute"}
    return OperatorCost(
        node=name, cycles=cycles, macs=macs, operations=operations, bytes_moved=moved,
        bytes_offchip=offchip, energy_pj=1.0, **{**fixed, **other},
    )  # fmt: skip


def test_points_are_rate_against_intensity():
    ceilings = roofline.Ceilings(1e6, 1e9, 1e9, "compute", "memory")
    first = node("layers.0.p", 100, 200, 450, 250.0, 200.0)
    second = node("layers.1.p", 300, 200, 450, 250.0, 200.0)
    free = node("r", 0, 0, 0, 0.0, 0.0, unit="wire", task="")
    push = node("q", 10, 0, 0, 12.0, 0.0)
    on_chip = node("a", 10, 0, 30, 60.0, 0.0, unit="vector.a")
    points = roofline.roofline("r", [first, second, free, push, on_chip], ceilings).points
    assert [p.label for p in points] == ["layers.*.p", "a"]
    assert (points[0].x, points[0].y) == (800 / 400, 800 * 1e6 / 400)
    assert (points[1].x, points[1].y) == (30 / 60, 30 * 1e6 / 10)
    assert [p.hollow for p in points] == [True, False]
    assert [p.series for p in points] == ["matrix", "vector"]


def test_tasks_count_their_cycles_once_per_layer():
    given = [
        node("layers.0.dt", 7, 0, 9, 1.0, 0.0, task="layers.*.k"),
        node("layers.0.v", 7, 0, 9, 1.0, 0.0, task="layers.*.k"),
        node("layers.1.dt", 8, 0, 9, 1.0, 0.0, task="layers.*.k"),
        node("head", 5, 0, 9, 1.0, 0.0, task="head"),
        node("view", 0, 0, 0, 0.0, 0.0, task=""),
    ]
    assert roofline.task_cycles(given) == [("layers.*.k", 15), ("head", 5)]


def test_units_are_shares_of_the_token():
    use = latency.UnitUse("w4", "matrix", "matrix", 50, 20, 10, 100.0)
    assert latency.units_table([use]).rows[0][-1] == 0.5
    [bar] = latency.unit_bars("w4", [use]).bars
    assert {p.label: p.value for p in bar.parts} == {
        "busy": 50, "waits for room": 10, "waits for input": 20, "idle": 20,
    }  # fmt: skip
    assert latency.unit_bars("other", [use]).bars == ()


def test_the_busiest_units_come_first_and_the_rest_is_counted():
    uses = [latency.UnitUse("w4", f"u{k}", "vector", k, 0, 0, 9.0) for k in range(5)]
    chart = latency.unit_bars("w4", uses, most=2)
    assert [bar.label for bar in chart.bars] == ["u4", "u3"]
    assert chart.note.endswith("3 more are busy for less.")


def test_the_longest_tasks_come_first_and_the_rest_is_named():
    chart = latency.task_bars("w4", [("a", 1), ("b", 7), ("c", 2)], most=2)
    assert [bar.label for bar in chart.bars] == ["b", "c"]
    assert chart.note.endswith("1 more take 10.0% together.")


def test_energy_shares_are_of_their_own_recipe():
    parts = [
        energy.EnergyPart(r, p, e)
        for r, p, e in (("a", "mac 4x4", 1.0), ("a", "on chip", 3.0), ("b", "mac 4x4", 5.0))
    ]
    assert [row[3] for row in energy.table(parts).rows] == [0.25, 0.75, 1.0]
    assert [bar.text for bar in energy.bars(parts).bars] == ["4 pJ", "5 pJ"]


def test_energy_is_drawn_in_groups_and_nothing_is_lost():
    names = (
        "mac 4x4",
        "mac 20x16",
        "add",
        "shift",
        "lookup",
        "on chip",
        "off chip",
        "static",
        "fan",
    )
    parts = [energy.EnergyPart("a", name, 2.0**k) for k, name in enumerate(names)]
    assert energy.grouped(parts) == {
        "multiply-accumulate": 3.0,
        "other arithmetic": 12.0,
        "table look-up": 16.0,
        "bits on chip": 32.0,
        "bits off chip": 64.0,
        "static": 128.0,
        "fan": 256.0,
    }


def test_energies_of_two_processes_are_not_added_up():
    def at(process):
        return energy.Constant("MAC", 1.0, "pJ", "measured", "a paper", process)

    energy.refuse_mixed([at("16 nm, 0.85 V"), at("16 nm, 0.85 V"), at("")])
    with pytest.raises(InternalError, match=r"16 nm.* and 45 nm.* must not"):
        energy.refuse_mixed([at("16 nm, 0.85 V"), at("45 nm, 0.9 V")])


def test_coverage_is_whole_only_where_nothing_is_missing():
    assert coverage.Coverage("w4", 5, 1.0, 9, 1.0, 7, 1.0).is_whole
    partial = coverage.Coverage("w4", 5, 0.8, 9, 1.0, 7, 1.0, ("fft",))
    assert not partial.is_whole
    assert coverage.table([partial]).rows[0][-1] == "fft"


def test_lints_warn_first_and_count_the_rest():
    found = summary().lints
    assert [row[1] for row in lints.lints_table(found).rows] == ["warning", "fine"]
    short = lints.lints_table(found, all_of_them=False)
    assert [row[3] for row in short.rows] == ["layers.2.in_q"]
    assert short.note == "1 warnings; 1 findings are within their limits."


def test_every_head_is_in_the_table_the_json_and_the_csv():
    run = summary()
    [row] = lints.heads_table(run.lints).rows
    assert row[:3] == ("w8a8", "state ceiling", "layers.2.ssm")
    assert row[3:] == (3, 0.03, 0.2, 0.99, "0: 0.05, 1: 0.2, 2: 0.03")
    [record] = run.to_json()["lint_heads"]
    assert record["values"] == [0.05, 0.2, 0.03]
    assert (record["recipe"], record["origin"]) == ("w8a8", "measured")
    lines = lints.heads_csv(run.lints).splitlines()
    assert lines[0] == "recipe,kind,where,head,value,limit,verdict"
    assert lines[1:4] == [
        f"w8a8,state ceiling,layers.2.ssm,{k},{v},0.99,fine"
        for k, v in enumerate((0.05, 0.2, 0.03))
    ]
    assert lines[4] == "w4a4-rtn,saturation,layers.2.in_q,,0.031,0.01,warning"
    assert "0: 0.05, 1: 0.2, 2: 0.03" in page(run)


def test_summary_lists_coverage_first_and_leaves_empty_tables_out():
    names = [t.name for t in summary().tables()]
    assert names[0] == "coverage"
    bare = Summary("m", "", "cosim walk m", "0", accuracy=summary().accuracy)
    assert [t.name for t in bare.tables()] == ["accuracy"]


def test_summary_json_carries_every_origin():
    data = json.loads(json.dumps(summary().to_json(), allow_nan=False))
    for table in data["tables"].values():
        for row in table["rows"]:
            for key, cell in row.items():
                assert isinstance(cell, str | None) or key in table["origins"]


def test_layers_hold_every_node_of_every_recipe():
    assert len(summary().layers().rows) == len(RECIPES) * len(costs(4))


def test_headlines_are_the_best_of_the_run():
    found = {h.label: h for h in headlines(summary())}
    assert found["best recipe, w8a8"].value == "+0.12%"
    assert found["differing integers"].value == "0"
    assert found["differing integers"].detail == "of 164,000,000"
    assert found["speed, w4a8"].origin == "modelled"
