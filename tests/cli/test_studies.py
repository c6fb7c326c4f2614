"""The page of a run shows a sweep and the published accelerators where it is asked to."""

import json
import re
import shutil

import pytest

from tests.cli.command import command
from tests.cli.test_bad_input import contents, refused
from tests.sweep.study_text import POINTS, write_study


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the folder of a finished sweep."""
    folder = tmp_path_factory.mktemp("swept")
    out = folder / "out"
    ran = command("sweep", write_study(folder), "-o", out, "--executor", "serial", "-q")
    assert ran.status == 0, ran
    return out


def test_the_front_of_a_sweep_is_on_the_page_and_stays_there(run, swept):
    before = contents(swept)
    ran = command("report", run, "--sweep", swept, "--json", "-q")
    assert ran.status == 0, ran
    assert contents(swept) == before
    own = json.loads((swept / "summary.json").read_text())["tables"]
    found = json.loads((run / "summary.json").read_text())["tables"]
    assert found["front"]["rows"] == own["front"]["rows"] != []
    assert found["counts"]["rows"][0]["points"] == POINTS
    page = (run / "report.html").read_text()
    section = re.search(r'<section id="space".*?</section>', page, re.DOTALL)[0]
    charts = re.findall(r'<h3>([^<]+) <span class="origin">', section)
    assert charts
    assert charts == re.findall(
        r'<figure style="margin:0"><h3>([^<]+) <', (swept / "report.html").read_text()
    )
    (run / "report.html").unlink()
    assert command("report", run, "-q").status == 0
    assert '<section id="space"' in (run / "report.html").read_text()
    assert f"--sweep {swept}" in json.loads((run / "summary.json").read_text())["command"]


def test_a_folder_that_is_no_finished_sweep_is_a_sentence(run, swept, tmp_path):
    before = contents(run)
    refused("report", run, "--sweep", tmp_path / "none", said="is no sweep's folder: it has no ")
    assert not (tmp_path / "none").exists()
    refused("report", run, "--sweep", run, said="is no sweep's folder: it has no ")
    part = shutil.copytree(swept, tmp_path / "part")
    for name, damaged in (("points.csv", "point,model\n0,m\n"), ("summary.json", "{")):
        kept = (part / name).read_text()
        (part / name).write_text(damaged)
        refused("report", run, "--sweep", part, said="is damaged; write them again with `cosim sw")
        (part / name).unlink()
        refused("report", run, "--sweep", part, said="holds no finished sweep; finish it with ")
        (part / name).write_text(kept)
    (part / "study.yaml").write_text("nam: a")
    refused("report", run, "--sweep", part, said="study.yaml")
    assert contents(run) == before


def test_published_accelerators_are_on_the_page_and_computed_once(run, monkeypatch):
    monkeypatch.setattr("cosim.flow.validate.PARTS", ("arrays",))
    ran = command("report", run, "--validation")
    assert ran.status == 0, ran
    page = (run / "report.html").read_text()
    assert 'id="t-validation_arrays"' in re.search(
        r'<section id="validation".*?</section>', page, re.DOTALL
    )[0]  # fmt: skip
    again = command("report", run)
    assert "validate: reused" in again.err
    assert 'id="t-validation_arrays"' in (run / "report.html").read_text()


def test_a_run_on_a_machine_has_costs_by_length(model, tmp_path):
    run = tmp_path / "run"
    argv = ("walk", model, "--recipe", "w8a8-rtn", "--window", "32", "--calibration-windows", "1",
            "--verify-tokens", "16", "-o", run, "-q")  # fmt: skip
    ran = command(*argv)
    assert ran.status == 0, ran
    rows = json.loads((run / "summary.json").read_text())["tables"]["lengths"]["rows"]
    assert {r["phase"] for r in rows} == {"decode", "prefill"}
    decode = {
        (r["cycles_per_token"], r["energy_uj_per_token"]) for r in rows if r["phase"] == "decode"
    }
    assert len(decode) == 1
    page = (run / "report.html").read_text()
    assert (
        "the line is flat" in re.search(r'<section id="lengths".*?</section>', page, re.DOTALL)[0]
    )
    assert {"lengths-decode.svg", "lengths-prefill.png"} <= {
        p.name for p in (run / "figures").iterdir()
    }
