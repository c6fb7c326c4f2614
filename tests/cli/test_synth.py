"""`cosim synth`: a table of units, each counted once; sentences for what it cannot do."""

import json

import pytest

from cosim.ir.file import save_model
from rtl import synth
from tests.cli.command import command
from tests.rtl.test_whole import layered

pytest.importorskip("pyosys", reason="pip install cosim-toolkit[rtl]")


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs") / "layered"
    save_model(layered(), folder)
    return folder


@pytest.mark.slow
def test_units_are_counted_once_and_summed(graph, tmp_path, monkeypatch):
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path))
    asked = ("synth", graph, "--lanes", "2", "--unit", "sink.next", "--unit", "source.token", "-q")
    first = command(*asked, "--json")
    assert first.status == 0, first.err
    *rows, total = json.loads(first.out)["synthesis"]
    assert [r["unit"] for r in rows] == ["sink.next", "source.token"]
    for name in ("luts", "ffs", "dsps", "brams", "urams"):
        assert total[name] == sum(r[name] for r in rows)
    assert total["delay"] == max(r["delay"] for r in rows)
    assert all(r["ffs"] > 0 for r in rows)

    def never(*_):
        raise AssertionError("counted a second time")

    monkeypatch.setattr(synth, "synthesise", never)
    assert command(*asked, "--json").out == first.out


@pytest.mark.slow
def test_figures_that_cannot_be_read_are_counted_anew(graph, tmp_path, monkeypatch):
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path))
    asked = ("synth", graph, "--lanes", "2", "--unit", "sink.next", "--json", "-q")
    first = command(*asked)
    (path,) = tmp_path.rglob("synth.json")
    path.write_text("{")
    assert command(*asked).out == first.out
    assert json.loads(path.read_text())["module"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--unit", "wheel"), "no unit is called 'wheel'; there are "),
        (("--family", "ice40"), "no family 'ice40' to synthesise for; choose one of xcup, xc7"),
    ],
)
def test_what_is_not_there_is_a_sentence(graph, tmp_path, monkeypatch, options, said):
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path))
    ran = command("synth", graph, "--lanes", "2", "-q", *options)
    assert ran.status == 2
    assert said in ran.err
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.slow
def test_the_estimate_stands_beside_the_figure_with_its_error(graph, tmp_path, monkeypatch):
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path))
    ran = command("synth", graph, "--lanes", "2", "--unit", "source.token", "--json", "-q")
    row, total = json.loads(ran.out)["synthesis"]
    for name in ("luts", "ffs"):
        off = row[f"estimated_{name}"] / row[name] - 1
        assert row[f"{name}_error"] == pytest.approx(off)
        assert total[f"{name}_error"] == pytest.approx(off)
    assert row["estimated_dsps"] == row["dsps"]
    assert "error" in command("synth", graph, "--lanes", "2", "--unit", "source.token", "-q").out
