"""A study is read as it stands, and what is wrong in it is one sentence with the line."""

from dataclasses import replace

import pytest

from cosim.design import Workload, default_design
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from cosim.sweep.evaluate import Bench, Task
from cosim.sweep.knobs import KNOBS, knob_values
from cosim.sweep.study import Study, load_study, read_study
from hw_models.evaluate import Evaluator
from tests.cli.command import ROOT
from tests.hw_models import graphs

GOOD = """\
name: small
models: [mamba2-130m]
recipes: [w4a4, w8a8]
machines: u280
knobs:
  rows: {from: 4, to: 20, times: 2}
  columns: 32
  weights: [chip, memory]
  fused: [true, false]
objectives: [tokens_per_s, luts]
search: {method: random, points: 7, seed: 3}
budget: {luts: 200000}
"""


def study(text: str) -> Study:
    return read_study(text, "study.yaml")


def test_a_good_study_is_what_it_says():
    found = study(GOOD)
    assert found.machines == ("u280",)
    assert found.recipes == ("w4a4", "w8a8")
    assert found.knobs == {
        "rows": (4, 8, 16),
        "columns": (32,),
        "weights": ("chip", "memory"),
        "fused": (True, False),
    }
    assert (found.search.method, found.search.points, found.search.seed) == ("random", 7, 3)
    assert found.budget == {"luts": 200_000.0}


def test_a_workload_is_that_of_a_design():
    """Prompts of 64 tokens, two sequences: a bench that is given this study prices that."""
    found = study(GOOD + "workload: {phase: prefill, tokens: 64, batch: 2, context: 9}\n")
    assert found.workload.of_design() == Workload("prefill", 64, 2, 9)
    assert study(GOOD).workload.of_design() == Workload()
    model, machine = graphs.small_mamba2(), load_machine("u280")
    for load in (Workload(), Workload("prefill", 64), Workload(batch=3)):
        point = Bench((model,), (machine,), load)(Task(0, 0, (("state_lanes", 8),)))
        assert not point.reason
        chosen = default_design(model, machine, workload=load).choices
        chosen = replace(chosen, lanes=replace(chosen.lanes, state=8))
        assert (
            point.figures["tokens_per_s"]
            == Evaluator(model, machine).point(chosen).tokens_per_second
        )


def test_the_example_reads():
    found = load_study(ROOT / "docs/examples/study.yaml")
    assert set(found.knobs) <= set(KNOBS)
    assert found.search.method == "grid"


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("machines: u280", "machine: u280", 4, "key 'machine' is unknown in the file; it takes n"),
        ("points: 7", "pointz: 7", 11, "key 'pointz' is unknown in search; it takes method, poi"),
        (
            "name: small",
            "workload: {phase: decode, tokens: 4}",
            1,
            "workload: tokens 4 are the length of a prompt, but phase decode reads none; leave",
        ),
        ("name: small", "workload: {batch: 0}", 1, "workload.batch: input should be greater than"),
        ("name: small", "workload: {phase: dream}", 1, "workload.phase: input should be 'decode'"),
        ("name: small", "workload: {speed: 2}", 1, "key 'speed' is unknown in workload; it takes"),
        ("name: small", "name: small\nname: other", 2, "'name' stands twice in the file, first on"),
        ("  columns: 32", "  rows: 32", 7, "'rows' stands twice in knobs, first on line 6"),
        ("points: 7,", "points: 7, points: 8,", 11, "key 'points' stands twice in search"),
        (
            "columns: 32",
            "colums: 32",
            7,
            "knobs.colums: no knob is called 'colums'; there are rows, columns",
        ),
        (
            "columns: 32",
            "columns: []",
            7,
            "knobs.columns: it has no values, so that the study has no p",
        ),
        ("to: 20", "to: 3", 6, "knobs.rows: it has no values, so that the study has no points"),
        ("models: [mamba2-130m]", "models: []", 2, "models: it is empty, so that the study has no"),
        ("models: [mamba2-130m]\n", "", 1, "the file lacks 'models'; add it"),
        ("columns: 32", "columns: 0", 7, "knobs.columns: 0 must be a whole number from 1 to 65"),
        ("columns: 32", "columns: 3.5", 7, "knobs.columns: 3.5 must be a whole"),
        ("columns: 32", "columns: true", 7, "knobs.columns: True must be a whole"),
        ("columns: 32", "columns: [8, 8]", 7, "knobs.columns: 8 stands twice"),
        (
            "[chip, memory]",
            "[chip, sd-card]",
            8,
            "knobs.weights: 'sd-card' is unknown; choose of chip, mem",
        ),
        ("[true, false]", "[1]", 9, "knobs.fused: 1 is unknown; choose of True, False"),
        ("times: 2", "times: 1", 6, "a range needs a whole number from 2 to 65536 as 'times', got"),
        ("times: 2", "times: 2, step: 1", 6, "a range has step or times, not both"),
        ("times: 2", "by: 2", 6, "key 'by' is unknown in a range"),
        ("from: 4, ", "", 6, "as 'from', got None"),
        ("tokens_per_s, luts", "speed", 10, "figure 'speed' is unknown; there are tokens_per_s"),
        ("tokens_per_s, luts", "luts, luts", 10, "objectives: 'luts' stands twice"),
        ("method: random", "method: luck", 11, "search.method: input should be 'grid', 'random'"),
        ("method: random", "method: grid", 11, "a grid tries all points; remove 'points'"),
        ("points: 7, ", "", 11, "method random needs 'points'"),
        ("points: 7", "points: 0", 11, "greater than or equal to 1, got 0"),
        ("points: 7", "points: many", 11, "search.points: input should be a valid integer, got '"),
        ("seed: 3", "seed: -1", 11, "search.seed"),
        (
            "luts: 200000",
            "tokens_per_s: 5",
            12,
            "budget.tokens_per_s: a budget caps a figure of which",
        ),
        ("luts: 200000", "luts: 0", 12, "budget.luts: 0 must be a number above 0"),
        ("luts: 200000", "luts: .nan", 12, "budget.luts: nan must be"),
        ("name: small", "name: 2020-01-01", 1, "'2020-01-01' is read as timestamp; write a number"),
        ("name: small", "name: [", 3, "not YAML"),
        ("name: small", "? [a]\n: 1", 1, "a key of the file is no text"),
        ("models: [mamba2-130m]", "models: {a: 1}", 2, "models: "),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old, new, line, said):
    assert old in GOOD
    with pytest.raises(UserError) as error:
        study(GOOD.replace(old, new))
    sentence = str(error.value)
    assert sentence.startswith(f"study.yaml:{line}: ")
    assert said in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is no mapping; a study has models"),
        ("- a", "it is no mapping"),
        ("models: a\nmachines: b\nknobs: 3", "x:3: knobs: knobs must be a mapping"),
        ("models: a\nmachines: b\nbudget: [3]", "x:3: budget: budget must be a mapping"),
        ("a: &x [*x]", "nested too deeply, or holds itself"),
        ("[" * 5000, "nested too deeply"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(
                f"{chr(b)}: &{chr(b)} [{','.join([f'*{chr(b - 1)}'] * 10)}]\n"
                for b in range(98, 106)
            ),
            "more than 100,000 values",
        ),
    ],
    ids=["empty", "list", "knobs", "budget", "loop", "deep", "bomb"],
)
def test_a_text_that_is_no_study(text, said):
    with pytest.raises(UserError, match=said):
        read_study(text, "x")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"study .*none.yaml: No such file"):
        load_study(tmp_path / "none.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        load_study(tmp_path / "x.yaml")


def test_ranges_hold_both_ends():
    assert knob_values("rows", {"from": 2, "to": 8, "step": 3}) == (2, 5, 8)
    assert knob_values("rows", {"from": 2, "to": 4}) == (2, 3, 4)
    assert knob_values("rows", {"from": 3, "to": 48, "times": 4}) == (3, 12, 48)
    with pytest.raises(ValueError, match="65,536 values; 4,096 are the most"):
        knob_values("rows", {"from": 1, "to": 65536})
