"""The kept benchmark runs on tiny models, times what it says, and sees the same labels."""

import json

import numpy as np
import pytest

from tests.benchmarks import executor_speed
from tests.benchmarks.executor_speed import Timing, fastest_yardstick, main, time_in_turns
from tests.benchmarks.yardsticks import Contender
from tests.cli.tiny import write_model, write_text

pytest.importorskip("transformers", reason="pip install cosim-toolkit[dev]")


@pytest.fixture
def tiny(tmp_path):
    """Return the options that measure a tiny model on a tiny text."""
    folder = write_model(tmp_path / "model")
    write_text(folder / "held_out.txt", 4096)
    return ["--model", str(folder), "--work", str(tmp_path / "work"), "--repeats", "2"]


def test_every_contender_is_timed_on_every_shape(tiny, capsys):
    main([*tiny, "--shape", "1x24", "--shape", "3x8", "--recipe", "w8a8", "--json"])
    rows = json.loads(capsys.readouterr().out)["executor_speed"]
    names = [f"transformers, float32, chunks of {n}" for n in (16, 32, 64)]
    assert [(r["shape"], r["contender"]) for r in rows] == [
        (shape, name) for shape in ("1 x 24", "3 x 8") for name in (*names, "cosim, integers, w8a8")
    ]
    for row in rows:
        assert row["best_tokens_per_s"] >= row["median_tokens_per_s"] > 0
        assert (row["threads"], row["rounds"]) == (1, 2)
        floats = row["contender"].startswith("transformers")
        assert row["agreement"] == 1.0 if floats else row["agreement"] > 0.8
    for shape in ("1 x 24", "3 x 8"):
        assert max(r["best_ratio"] for r in rows if "chunks" in r["contender"]) >= 1.0
        assert {r["best_ratio"] for r in rows if r["shape"] == shape} >= {1.0}


def test_the_table_is_printed_and_slower_integers_are_a_failure(tiny, capsys, monkeypatch):
    status = main([*tiny, "--shape", "1x8", "--recipe", "w8a8"])
    out = capsys.readouterr()
    assert "best/yardstick" in out.out
    assert status == int("slower than float" in out.err)

    def timings(ours):
        made = {"model": "m", "shape": (1, 8), "threads": 1, "agrees": 1.0, "load": (0.0, 0.0)}
        return [
            Timing(contender="theirs", is_ours=False, seconds=(1.0, 2.0), **made),
            Timing(contender="ours", is_ours=True, seconds=ours, **made),
        ]

    for ours, expected in (((1.1, 1.2), 1), ((0.9, 9.0), 0)):
        monkeypatch.setattr(executor_speed, "measure", lambda _, ours=ours: timings(ours))
        assert main([]) == expected


def test_turns_alternate_and_the_first_round_is_not_counted():
    order = []

    def label(name):
        return lambda tokens: order.append(name) or np.full(tokens.shape, len(name))

    contenders = [Contender("a", label("a")), Contender("bb", label("bb"), is_ours=True)]
    a, b = time_in_turns("m", contenders, np.zeros((2, 3), int), 1, 3)
    assert order == ["a", "bb"] * 4
    assert (len(a.seconds), len(b.seconds)) == (3, 3)
    assert (a.agrees, b.agrees) == (1.0, 0.0)
    assert fastest_yardstick(b, [a, b]) is a
    assert a.best == 6 / min(a.seconds)
    assert a.median == 6 / sorted(a.seconds)[1]


@pytest.mark.slow
def test_typeseg_is_timed_too(tmp_path, capsys):
    pytest.importorskip("typeseg", reason="pip install cosim-toolkit[typeseg]")
    options = ["--model", "typeseg", "--work", str(tmp_path), "--repeats", "1", "--shape", "2x16"]
    main([*options, "--recipe", "w8a8-rtn", "--json"])
    rows = json.loads(capsys.readouterr().out)["executor_speed"]
    assert [r["contender"] for r in rows] == [
        "typeseg.precise, numpy backend",
        "typeseg numpy forward pass alone",
        "cosim, integers, w8a8-rtn",
    ]
    assert rows[1]["agreement"] == 1.0
    assert all(r["best_tokens_per_s"] > 0 for r in rows)  # the baseline itself labels badly
