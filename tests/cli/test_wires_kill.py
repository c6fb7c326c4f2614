"""Whoever kills `cosim rtl` or `cosim verify --level` loses no more than the step under way."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from cosim.flow import wires
from cosim.flow.request import Request
from cosim.ir.file import save_model
from rtl.project import MANIFEST
from tests.cli.command import ROOT, command
from tests.rtl.test_whole import layered

OPTIONS = ("--prompt", "3 4", "--lanes", "4")


@pytest.fixture
def folder(tmp_path):
    """Return a run folder with one graph."""
    save_model(layered(), tmp_path / "run" / "graph" / "layered")
    Request("layered", ("layered",)).save(tmp_path / "run")
    return tmp_path / "run"


def start(*words):
    """Start a command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cosim.cli", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def contents(out) -> dict[str, str]:
    """Return the hash of every file in a folder."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir()}


def test_a_folder_that_is_there_is_not_written_again(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    asked = ("rtl", folder, "-o", out, "--tokens", "3", *OPTIONS)
    first = command(*asked, "--json", "-q")
    assert first.status == 0, first.err
    before, times = contents(out), {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(wires, "export_design", lambda *_: pytest.fail("exported again"))
        again = command(*asked, "--json")
    assert again.out == first.out
    assert "reused" in again.err
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == times
    # Another prompt is another folder; a file that was changed is written again.
    (out / "bench.v").write_text("// mine\n")
    ran = command(*asked)
    assert "reused" not in ran.err
    assert contents(out) == before
    assert command(*asked[:-4], "--prompt", "5", "--lanes", "4", "-q").status == 0
    assert contents(out) != before


def test_units_alone_are_not_written_again(folder, tmp_path):
    asked = ("rtl", folder, "-o", tmp_path / "out", *OPTIONS, "--unit")
    assert command(*asked, "matrix", "-q").status == 0
    assert "reused" in command(*asked, "matrix").err
    assert "reused" not in command(*asked, "vector.q").err
    assert not (tmp_path / "out" / "matrix.v").exists()


@pytest.mark.slow
def test_an_export_killed_at_any_time_leaves_a_whole_folder_or_none(folder, tmp_path):
    good = tmp_path / "good"
    started = time.perf_counter()
    whole = start("rtl", folder, "-o", good, "--tokens", "3", *OPTIONS)
    whole.communicate(timeout=120)
    seconds = time.perf_counter() - started
    assert whole.returncode == 0
    rng, out = random.Random(1), tmp_path / "out"
    asked = ("rtl", folder, "-o", out, "--tokens", "3", *OPTIONS)
    for _ in range(6):
        ran = start(*asked)
        # The last part of the time is that in which something is made and written.
        time.sleep(seconds * rng.uniform(0.6, 1.0))
        ran.send_signal(signal.SIGKILL)
        ran.communicate(timeout=120)
        if out.exists():
            assert contents(out) == contents(good)
    assert command(*asked, "-q").status == 0
    assert contents(out) == contents(good)
    assert json.loads((out / MANIFEST).read_text())["tokens"] == 4


@pytest.mark.slow
def test_a_killed_verification_goes_on_with_the_unit_under_way(folder):
    asked = ("verify", folder, "--level", "pyrtl", "--units", *OPTIONS)
    ran = start(*asked)
    done = []
    assert ran.stderr is not None
    for line in ran.stderr:
        if line.startswith("wire-unit"):
            done.append(line.split(":")[0])
        if len(done) == 2:
            ran.send_signal(signal.SIGKILL)
            break
    ran.communicate(timeout=120)
    assert ran.returncode == -signal.SIGKILL
    again = command(*asked)
    assert again.status == 0, again.err
    reused = [x.split(":")[0] for x in again.err.splitlines() if x.endswith("reused")]
    assert reused[:2] == done
    names = [x.split(":")[0] for x in again.err.splitlines() if x.startswith("wire-unit")]
    assert len(names) == 6
    assert len(reused) < 6
