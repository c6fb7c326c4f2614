"""`cosim sweep` from the command line: what it writes, what it refuses, what it keeps."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import ROOT, command
from tests.cli.test_bad_input import contents, refused
from tests.sweep.study_text import POINTS, write_study

OUTPUTS = ("points.csv", "points.parquet", "summary.json", "report.html", "study.yaml")


def outputs(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all that is written at the end."""
    figures = sorted(p.relative_to(folder) for p in (folder / "figures").iterdir())
    return {str(name): (folder / name).read_bytes() for name in (*map(Path, OUTPUTS), *figures)}


def points_in(folder: Path) -> int:
    """Count the points that a store keeps."""
    path = folder / "points.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "points.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """Make a study and run it once, here."""
    folder = tmp_path_factory.mktemp("sweep")
    study = write_study(folder)
    ran = command("sweep", study, "-o", folder / "out", "--executor", "serial", "--json")
    assert ran.status == 0, ran
    (folder / "stdout.json").write_text(ran.out)
    return folder


def test_all_points_are_tried_and_told(base):
    told = json.loads((base / "stdout.json").read_text())
    [counts] = told["counts"]
    assert counts["points"] == POINTS
    assert counts["fit"] + counts["out"] == POINTS
    assert counts["fit"] > 5
    found = rows(base / "out")
    assert [int(r["point"]) for r in found] == list(range(POINTS))
    assert sum(r["front"] == "yes" for r in found) == counts["front"] == len(told["front"])


def test_what_does_not_fit_is_a_result_with_its_reason(base):
    found = rows(base / "out")
    wide = [r for r in found if r["chain_lanes"] == "65536"]
    assert len(wide) == POINTS // 2
    for row in wide:
        assert row["reason"].startswith(f"the design does not fit {row['machine']}: it needs ")
        assert row["tokens_per_s"] == ""
        assert float(row["luts"]) > 0
    over = [r for r in found if r["reason"].startswith("over the budget: latency_us ")]
    assert over, "the budget was meant to exclude some"
    assert all(float(r["latency_us"]) > 8 and r["front"] == "no" for r in over)


def test_figures_are_those_of_simulate(base, tmp_path):
    """The one point that asks for what the default design has."""
    study = write_study(tmp_path, text="models: model\nmachines: u280\n")
    assert command("sweep", study, "-o", tmp_path / "out", "--executor", "serial").status == 0
    [point] = rows(tmp_path / "out")
    from cosim.machine import load_machine
    from cosim.sweep.inputs import find_inputs
    from cosim.sweep.study import load_study
    from hw_models.simulate import simulate

    [model] = find_inputs(load_study(study), tmp_path).graphs.values()
    wanted = simulate(model, load_machine("u280"))
    assert float(point["tokens_per_s"]) == wanted.tokens_per_second
    assert float(point["cycles_per_token"]) == wanted.cycles_per_token
    assert float(point["energy_uj_per_token"]) == wanted.energy_pj_per_token / 1e6
    assert {n: float(point[f"{n}s"]) for n in wanted.design.resources} == wanted.design.resources


def test_the_front_is_what_the_file_says(base):
    """Read the CSV as anybody would, and look for a point that beats one of the front."""
    fit = [r for r in rows(base / "out") if not r["reason"]]
    goals = [(-float(r["tokens_per_s"]), float(r["energy_uj_per_token"]), float(r["luts"]))
             for r in fit]  # fmt: skip
    for row, own in zip(fit, goals, strict=True):
        beaten = any(
            other != own and all(o <= m for o, m in zip(other, own, strict=True)) for other in goals
        )
        assert row["front"] == ("no" if beaten else "yes")


def test_parquet_holds_the_same(base):
    pq = pytest.importorskip("pyarrow.parquet", reason="pip install cosim-toolkit[sweep]")
    table = pq.read_table(base / "out" / "points.parquet")
    listed = table.to_pylist()
    for row, text in zip(listed, rows(base / "out"), strict=True):
        assert {k: "" if v is None else str(v) for k, v in row.items()} == text
    assert str(table.schema.field("rows").type) == "int64"
    assert str(table.schema.field("tokens_per_s").type) == "double"
    origins = json.loads(table.schema.metadata[b"origins"])
    assert (origins["rows"], origins["tokens_per_s"]) == ("given", "modelled")


@pytest.mark.slow
def test_workers_write_the_same_bytes(base, tmp_path):
    ran = command("sweep", base / "study.yaml", "-o", tmp_path / "out", "--workers", 2)
    assert ran.status == 0, ran
    assert f"sweep tiny: {POINTS} points, 0 of them reused" in ran.err
    assert outputs(tmp_path / "out") == outputs(base / "out")


def test_a_second_run_reuses_all(base):
    before = outputs(base / "out")
    ran = command("sweep", base / "study.yaml", "-o", base / "out", "--executor", "serial")
    assert ran.status == 0, ran
    assert f"{POINTS} points, {POINTS} of them reused" in ran.err
    assert outputs(base / "out") == before


def test_another_study_in_the_folder_takes_what_it_shares(base, tmp_path):
    study = write_study(tmp_path)
    text = (
        study.read_text()
        .replace("rows: [1, 2, 4]", "rows: [2, 3]")
        .replace("latency_us: 8", "power_w: 20")
    )
    study.write_text(text.replace("[tokens_per_s, energy", "[latency_us, energy"))
    out = tmp_path / "out"
    assert command("sweep", base / "study.yaml", "-o", out, "--executor", "serial").status == 0
    ran = command("sweep", study, "-o", out, "--executor", "serial")
    assert "32 points, 16 of them reused" in ran.err
    assert len(rows(out)) == 32


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rows:", "rowz:", "study.yaml:5: knobs.rowz: no knob is called 'rowz'"),
        ("rows: [1, 2, 4]", "rows: []", "the study has no points"),
        ("u280", "u281", "machine 'u281' is unknown; choose one of"),
        ("u280", "./u281.yaml", "u281.yaml: No such file or directory; check the path"),
        ("models: model", "models: mamba3-9b", "there is no model 'mamba3-9b'; name one of"),
        ("machines:", "recipes: [w3a3]\nmachines:", "no recipe 'w3a3'; there are w8a8"),
    ],
)
def test_a_bad_study_is_a_sentence(tmp_path, old, new, said):
    study = write_study(tmp_path)
    study.write_text(study.read_text().replace(old, new))
    refused("sweep", study, "-o", tmp_path / "out", said=said)
    assert not (tmp_path / "out").exists()


def test_other_bad_input_is_a_sentence(base, tmp_path):
    study = base / "study.yaml"
    refused("sweep", tmp_path / "none.yaml", "-o", tmp_path / "o", said="No such file")
    refused("sweep", study, "-o", tmp_path / "o", "--workers", 0, said="must be at least 1")
    refused("sweep", study, "-o", base, said="is no sweep's folder; give a new one")
    run = tmp_path / "run" / "graph" / "w8a8"
    run.mkdir(parents=True)
    (run / "graph.json").touch()
    other = tmp_path / "other.yaml"
    other.write_text("models: run\nmachines: u280\n")
    refused("sweep", other, "-o", tmp_path / "o", said="no graph of recipe 'w4a4'; it has w8a8")


def test_a_run_folder_is_swept_by_its_own_graph(done, tmp_path):
    """`done` is the walk of a tiny model: its graph has calibrated bounds."""
    study = tmp_path / "study.yaml"
    text = f"models: {done / 'run'}\nrecipes: w8a8-rtn\nmachines: u280\nknobs: {{rows: [1, 2]}}"
    study.write_text(text)
    ran = command("sweep", study, "-o", tmp_path / "out", "--executor", "serial")
    assert ran.status == 0, ran
    assert {r["reason"] for r in rows(tmp_path / "out")} == {""}


def test_a_point_that_deadlocks_is_a_result(base, tmp_path, monkeypatch):
    from cosim.ir.errors import UserError
    from hw_models.evaluate import Evaluator

    real = Evaluator.point_of

    def sometimes(self, design):
        if design.choices.lanes.rows == 2:
            raise UserError("the design deadlocks: a waits for b, b waits for a")
        return real(self, design)

    monkeypatch.setattr(Evaluator, "point_of", sometimes)
    out = tmp_path / "out"
    assert command("sweep", base / "study.yaml", "-o", out, "--executor", "serial").status == 0
    stuck = [r for r in rows(out) if r["reason"].startswith("the design deadlocks: a waits for b")]
    assert len(stuck) == POINTS // 6
    assert {r["rows"] for r in stuck} == {"2"}
    assert {r["front"] for r in stuck} == {"no"}


def test_a_study_of_which_nothing_fits_has_a_report(base, tmp_path):
    study = write_study(tmp_path)
    study.write_text(study.read_text().replace("[2, 65536]", "[65536]"))
    ran = command("sweep", study, "-o", tmp_path / "out", "--executor", "serial")
    assert ran.status == 0, ran
    assert "No point fits" in (tmp_path / "out" / "report.html").read_text()
    assert list((tmp_path / "out" / "figures").iterdir()) == []


def test_a_store_of_another_version_is_refused(base, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert command("sweep", base / "study.yaml", "-o", out, "--executor", "serial").status == 0
    before = contents(out)
    monkeypatch.setattr("cosim.sweep.store.code_digest", lambda part: part)
    refused("sweep", base / "study.yaml", "-o", out, said="this one is left as it is")
    assert contents(out) == before


def test_a_full_disk_stops_with_a_sentence_and_goes_on_later(base, tmp_path, monkeypatch):
    real, writes = os.write, []

    def fills(handle, data):
        if data.startswith(b'{"key": '):
            writes.append(data)
            if len(writes) > 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("os.write", fills)
        refused("sweep", base / "study.yaml", "-o", out, "--executor", "serial", said="No space")
    assert points_in(out) == 20
    ran = command("sweep", base / "study.yaml", "-o", out, "--executor", "serial")
    assert f"{POINTS} points, 20 of them reused" in ran.err
    assert outputs(out) == outputs(base / "out")


def test_without_pyarrow_parquet_alone_is_missing(base, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ran = command("sweep", base / "study.yaml", "-o", tmp_path / "out", "--executor", "serial")
    assert ran.status == 0, ran
    assert "points.parquet needs pyarrow and was left out" in ran.err
    assert (tmp_path / "out" / "report.html").is_file()
    assert not (tmp_path / "out" / "points.parquet").exists()


def test_without_ray_the_sentence_says_what_to_install(base, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    argv = ("sweep", base / "study.yaml", "-o", tmp_path / "out", "--executor", "ray")
    refused(*argv, said="needs Ray; install it with `pip install 'cosim-toolkit[ray]'`")


def started(study: Path, out: Path, *more: str) -> subprocess.Popen:
    """Start the command in a process group of its own, as a shell does at its prompt.

    A script's background jobs, a test run among them, are deaf to Ctrl-C; `env` undoes that.
    """
    return subprocess.Popen(
        [
            "env",
            "--default-signal=INT",
            sys.executable,
            "-m",
            "cosim.cli",
            "sweep",
            study,
            "-o",
            out,
            *more,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(out: Path, points: int, process: subprocess.Popen) -> None:
    """Wait until so many points are kept, or the process is over."""
    deadline = time.monotonic() + 120
    while points_in(out) < points and process.poll() is None:
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.002)


@pytest.mark.slow
def test_ctrl_c_stops_with_130_and_goes_on(tmp_path):
    """The signal goes to the whole group, workers included."""
    study = write_study(tmp_path)
    # So many points that the signal finds the sweep at work.
    rows = ", ".join(map(str, range(1, 61)))
    study.write_text(study.read_text().replace("rows: [1, 2, 4]", f"rows: [{rows}]"))
    points, out = POINTS * 20, tmp_path / "out"
    with started(study, out, "--workers", "2") as process:
        wait_for(out, 5, process)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == (
        "cosim: stopped; what was finished is kept, the same command goes on there"
    )
    assert "Traceback" not in err
    kept = points_in(out)
    assert 5 <= kept < points
    ran = command("sweep", study, "-o", out, "--executor", "serial")
    assert f"{points} points, {kept} of them reused" in ran.err
    assert command("sweep", study, "-o", tmp_path / "whole", "--executor", "serial").status == 0
    assert outputs(out) == outputs(tmp_path / "whole")
