"""The modelled side: costs of a graph on a machine, its files, and machines that are too small."""

import csv
import json
from typing import get_args

import pytest

from cosim.cli.parser import OBJECTIVES
from cosim.flow.simulate import simulate_graph
from cosim.machine import list_machines, load_machine
from hw_models.mapper import Objective
from quant.configs import find_config
from quant.from_config import lower_config
from quant.recipes import find_recipe
from reports.roofline import roofline
from tests.cli.command import ROOT, WALK, command

# tests/cli/tiny.py: width 24, inner 48, 4 heads, 8 states, two layers, 256 bytes.
IN_PROJ, OUT_PROJ, HEAD = (48 + 48 + 2 * 8 + 4) * 24, 24 * 48, 256 * 24
LINEAR_MACS = 2 * (IN_PROJ + OUT_PROJ) + HEAD


@pytest.fixture(scope="module")
def priced(done):
    """Return a run folder that was walked with a machine."""
    run = done / "priced"
    ran = command(
        "walk", done / "model", *WALK, "--recipe", "w8a8", "--machine", "vck190", "-o", run
    )
    assert ran.status == 0, ran
    return run


def test_macs_of_linear_layers_are_those_of_the_config(priced):
    rows = list(csv.DictReader((priced / "layers.csv").read_text().splitlines()))
    for recipe in ("w8a8", "w8a8-rtn"):
        own = [row for row in rows if row["recipe"] == recipe]
        assert sum(int(r["macs"]) for r in own if r["op"] == "linear") == LINEAR_MACS
        assert {row["bound"] for row in own if row["unit"] != "wire"} <= {"compute", "memory"}
        assert all(row["task"] for row in own if row["unit"] != "wire")


def test_the_parts_add_up_to_the_summary(priced):
    tables = json.loads((priced / "summary.json").read_text())["tables"]
    rows = list(csv.DictReader((priced / "layers.csv").read_text().splitlines()))
    for speed in tables["speed"]["rows"]:
        recipe = speed["recipe"]
        own = [e for e in tables["energy"]["rows"] if e["recipe"] == recipe]
        nodes = sum(float(r["energy_pj"]) for r in rows if r["recipe"] == recipe)
        dynamic = sum(e["energy_pj"] for e in own if e["component"] not in {"static", "clock"})
        assert nodes == pytest.approx(dynamic)
        assert speed["energy_uj_per_token"] == pytest.approx(sum(e["energy_pj"] for e in own) / 1e6)
        clock_hz = load_machine("vck190").clock.frequency_mhz * 1e6
        assert speed["tokens_per_s"] == pytest.approx(clock_hz / speed["cycles_per_token"])
        [covered] = [c for c in tables["coverage"]["rows"] if c["recipe"] == recipe]
        assert (covered["macs_share"], covered["missing"]) == (1.0, "nothing")


def test_the_trace_has_a_process_per_recipe(priced):
    events = json.loads((priced / "trace.json").read_text())["traceEvents"]
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names == {1: "w8a8-rtn", 2: "w8a8"}
    for pid in names:
        tracks = {e["tid"] for e in events if e["pid"] == pid and e["name"] == "thread_name"}
        tasks = [e for e in events if e["pid"] == pid and e["ph"] == "X"]
        assert tasks
        assert {e["tid"] for e in tasks} == tracks
        assert all(e["dur"] > 0 for e in tasks)


def test_each_recipe_has_its_figures(priced):
    names = {p.name for p in (priced / "figures").iterdir()}
    for recipe in ("w8a8", "w8a8-rtn"):
        for kind in ("roofline", "tasks", "units"):
            assert {f"{kind}-{recipe}.svg", f"{kind}-{recipe}.png"} <= names


def test_simulations_are_reused_until_the_machine_changes(done, priced):
    walk = ("walk", done / "model", *WALK, "--recipe", "w8a8", "-o", priced, "--machine")
    assert "simulate w8a8: reused" in command(*walk, "vck190").err
    assert "simulate w8a8: reused" not in command(*walk, "u280").err


def test_simulate_prints_coverage_first(priced):
    ran = command("simulate", priced, "--recipe", "w8a8", "--trace", priced / "one.json", "--json")
    data = json.loads(ran.out)
    assert next(iter(data)) == "coverage"
    assert data["design"].startswith("design of model on u280")
    assert json.loads((priced / "one.json").read_text())["traceEvents"]


def test_a_published_size_needs_no_weights():
    data = json.loads(command("simulate", "mamba2-130m", "--machine", "vck190", "--json").out)
    [speed] = data["speed"]
    assert speed["recipe"] == "w4a4"
    # At 4 bits, 23.8 GB/s fetch the 130 M weights 380 times a second at the very most.
    assert 50 < speed["tokens_per_s"] < 380


def test_what_was_published_of_the_very_same_case_stands_beside_the_run():
    argv = ("simulate", "mamba2-2.7b", "--recipe", "w8a8", "--machine", "lightmamba-vck190")
    data = json.loads(command(*argv, "--json").out)
    own, run = (r for r in data["published"] if r["figure"] == "speed, tokens/s")
    assert (own["given"], run["given"]) == (3.61, 3.61)
    assert run["modelled"] == data["speed"][0]["tokens_per_s"]
    for row in data["published"]:
        assert row["error_percent"] == pytest.approx(100 * (row["modelled"] / row["given"] - 1))
    assert "cosim validate" in data["published_note"]
    text = command(*argv).out
    at = text.index("Published accelerators of this model, these bits and this machine")
    assert "given  modelled  modelled" in text[at:]


def test_nothing_published_is_said_and_leaves_no_table():
    ran = command("simulate", "mamba2-130m", "--recipe", "w4a4", "--machine", "u280", "--json")
    data = json.loads(ran.out)
    assert "published" not in data
    assert "no published accelerator is described by u280" in data["published_note"]


def test_a_prompt_and_the_tokens_after_it_are_two_phases(done):
    ran = command(
        "simulate", done / "run", "--recipe", "w8a8-rtn", "--prefill", "40", "--batch", "2",
        "--context", "5", "--slack", "1", "--json",
    )  # fmt: skip
    prompt, after = json.loads(ran.out)["workload"]
    assert prompt["phase"] == "prefill of 40 tokens, batch 2 after 5"
    assert after["phase"] == "decode, batch 2 after 44"
    for row in (prompt, after):
        assert 0 < row["compute_share"] <= 1
        assert row["binds"]
    text = command("simulate", done / "run", "--recipe", "w8a8-rtn", "--slack", "0").out
    assert "after 0 tokens: as after any number of them, for all states are of a fixed" in text
    assert "FIFO depths: the smallest for a slack of 0 %" in text
    assert "a whole round was solved, which proves that no other deadlocks" in text
    assert "FIFO depths: by rule" in command("simulate", done / "run", "--recipe", "w8a8-rtn").out


def test_the_objectives_of_the_parser_are_those_of_the_mapper():
    assert get_args(Objective) == OBJECTIVES


@pytest.mark.slow
def test_a_design_that_is_searched_says_why(done):
    ran = command("simulate", done / "run", "--recipe", "w8a8-rtn", "--prefill", "9",
                  "--objective", "area", "--slack", "0")  # fmt: skip
    assert "mapper: model on u280 for area of prefill of 9 tokens: " in ran.out
    assert "% of what the products allow" in ran.out
    assert "refused at the end:" in ran.out
    assert "matrix separate: area +" in ran.out
    assert "FIFO depths: the smallest for a slack of 0 %" in ran.out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--objective", "beauty"), "invalid choice: 'beauty'"),
        (("--prefill", "0"), "0 is not at least 1"),
        (("--context", "-4"), "-4 is not at least 0"),
        (("--slack", "-1"), "-1 is not 0 to 1000"),
        (("--batch", "9000000"), "workload: batch 9000000 must be 1 to 1,048,576"),
    ],
)
def test_what_is_no_workload_is_one_sentence(done, argv, said):
    ran = command("simulate", done / "run", "--recipe", "w8a8-rtn", *argv)
    assert ran.status == 2
    assert said in ran.err


@pytest.mark.parametrize("machine", list_machines())
def test_what_reads_off_chip_stays_below_the_memory_ceiling(machine):
    graph = lower_config("m", find_config("mamba2-130m"), find_recipe("w4a4"))
    found, _ = simulate_graph("w4a4", graph, load_machine(machine))
    chart = roofline("r", found.costs.costs, found.costs.ceilings)
    hollow = [p for p in chart.points if p.hollow]
    assert {"layers.*.in_proj.acc", "lm_head.acc"} <= {p.label for p in hollow}
    for point in hollow:
        slope = point.x * found.costs.ceilings.memory_bytes_per_s
        assert point.y <= slope * (1 + 1e-9), point
    for point in chart.points:
        if point.series == "matrix":
            assert point.y <= found.costs.ceilings.compute_operations_per_s


def test_a_machine_that_is_too_small(done, tmp_path):
    board = tmp_path / "tiny.yaml"
    lines = (ROOT / "cosim/machines/u280.yaml").read_text().splitlines()
    [at] = [k for k, line in enumerate(lines) if line.strip().startswith("luts:")]
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    lines[at] = indent + 'luts: {value: 30000, kind: given, source: "a test"}'
    board.write_text("\n".join(lines) + "\n")
    for argv in (
        ("simulate", done / "run", "--machine", board),
        ("walk", done / "model", *WALK, "--machine", board, "-o", tmp_path / "run"),
    ):
        ran = command(*argv)
        assert ran.status == 2, ran
        assert "too small" in ran.err or "short" in ran.err
        assert "lut" in ran.err.lower()
        assert ran.err.splitlines()[-1].startswith("cosim: ")
        assert "Traceback" not in ran.err
    assert (tmp_path / "run/graph/w8a8-rtn/graph.json").exists(), "what was done is kept"
