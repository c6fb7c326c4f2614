"""A sweep that is killed at random times ends with the bytes of one that was not."""

import random
import time

import pytest

from tests.cli.command import command
from tests.cli.test_sweep import outputs, points_in, started, wait_for
from tests.sweep.study_text import GRID, write_study

CASES = {
    "grid": (GRID, ("--workers", "2"), ("--executor", "serial")),
    "tpe": ("{method: tpe, points: 40, seed: 2, batch: 8}", ("--workers", "2"), ("--workers", "1")),
    "nsga2": (
        "{method: nsga2, points: 40, seed: 2, batch: 8}",
        ("--executor", "serial"),
        ("--workers", "2"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_sigkill_at_random_times(tmp_path, name, seed):
    if name != "grid":
        pytest.importorskip("optuna", reason="pip install cosim-toolkit[sweep]")
    search, how, other = CASES[name]
    study = write_study(tmp_path, search)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ran = command("sweep", study, "-o", whole, *other)
    assert ran.status == 0, ran
    points = points_in(whole)
    chance = random.Random(f"{name} {seed}")
    deaths, kept = 0, 0
    for _ in range(4):
        with started(study, killed, *how) as process:
            wait_for(killed, kept + chance.randint(1, points // 4), process)
            time.sleep(0.02 * chance.random())  # anywhere between two points, or within a write
            process.kill()
            process.communicate()
        if process.returncode == 0:
            break
        deaths += 1
        kept = points_in(killed)
    assert deaths >= 2
    ran = command("sweep", study, "-o", killed, *how)
    assert ran.status == 0, ran
    assert " 0 of them reused" not in ran.err
    assert outputs(killed) == outputs(whole)
    assert (killed / "points.jsonl").read_bytes() == (whole / "points.jsonl").read_bytes()
    assert sorted(p.name for p in killed.iterdir()) == sorted(p.name for p in whole.iterdir())
