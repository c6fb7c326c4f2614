"""What `cosim verify --level` and `cosim synth` leave in a run folder, and the report shows."""

import json
import re

import pytest

from cosim.flow import synthesis, units
from cosim.flow.units import Alone
from cosim.flow.whole import Whole
from rtl.cells import Synthesis
from rtl.units.chain import Chain
from tests.cli.command import command

RECIPE = "w8a8-rtn"
END = ("--level", "pyrtl", "--cycles", "--tokens", "2", "--prompt", "ab", "--lanes", "12,8,8,16")
ALONE = ("--level", "pyrtl", "--unit", "vector.k", "--unit", "fir", "--lanes", "12,8,8,16")


def tables(run) -> dict:
    """Return the tables that the run's summary has of its wires."""
    told = json.loads((run / "summary.json").read_text())["tables"]
    return {n: t["rows"] for n, t in told.items() if n in {"wires", "wire_units", "resources"}}


def never(*_):
    raise AssertionError("done a second time")


@pytest.mark.slow
def test_a_whole_is_kept_and_shown(run, monkeypatch):
    """Asked again, of the run folder or of the graph in it, it is not done again."""
    first = command("verify", run, *END, "--json", "-q")
    assert first.status == 0, first.err
    (row,) = json.loads(first.out)["wires"]
    assert (row["recipe"], row["tokens"], row["integers"], row["differences"]) == (
        RECIPE, 3, 3 * 257, 0,
    )  # fmt: skip
    assert (row["beats"] > 0, row["late"]) == (True, 0)
    monkeypatch.setattr(Whole, "verify", never)
    assert command("verify", run, *END, "--json", "-q").out == first.out
    assert command("verify", run / "graph" / RECIPE, *END, "--json", "-q").out == first.out
    ran = command("report", run, "-q")
    assert ran.status == 0, ran.err
    assert tables(run)["wires"] == json.loads(first.out)["wires"]


def test_units_alone_are_kept_and_shown(run, monkeypatch):
    first = command("verify", run, *ALONE, "--json", "-q")
    assert first.status == 0, first.err
    # Every value of k, for two takers, and of the filter: two layers, two tokens, three runs.
    assert {r["unit"]: r["integers"] for r in json.loads(first.out)["wire_units"]} == {
        "vector.k": 2 * 2 * 3 * 4 * 2, "fir": 2 * 2 * 3 * 64,
    }  # fmt: skip
    monkeypatch.setattr(Alone, "verify", never)
    again = command("verify", run, *ALONE, "--json")
    assert again.out == first.out
    assert again.err.count("reused") == 2
    assert command("report", run, "-q").status == 0
    assert tables(run)["wire_units"] == json.loads(first.out)["wire_units"]
    text = (run / "report.html").read_text()
    assert '<section id="wires"' in text
    assert "each of " in text


def test_a_unit_that_is_wrong_is_named_and_stays_in_the_report(run, monkeypatch):
    """The lowest bit of every word of chains is turned over."""
    pushes = Chain.pushes

    def turned(chain, latency):
        bit = int(chain.plan.kind == "vector")  # a filter is a chain too, and is left as it is
        return {name: word ^ bit for name, word in pushes(chain, latency).items()}

    monkeypatch.setattr(Chain, "pushes", turned)
    ran = command("verify", run, *ALONE, "-q")
    assert ran.status == 1
    said = r"unit vector\.k: values of the reference: beat 0 of '(.*)': (0x\w+) in pyrtl, (0x\w+) "
    found = re.search(said + "meant", ran.err)
    assert found
    assert int(found[2], 16) == int(found[3], 16) ^ 1
    assert "unit fir: values" not in ran.err
    ran = command("report", run, "-q")
    assert ran.status == 1
    assert f"unit vector.k: values of the reference: beat 0 of '{found[1]}'" in ran.err
    text = (run / "report.html").read_text()
    assert '<p class="verdict bad">The wires differ. ' in text
    assert f"{found[2]} in pyrtl, {found[3]} meant" in text


def test_a_beat_of_a_unit_in_another_cycle_is_named(run, monkeypatch):
    def late(*args):
        found = unit_beats(*args)
        for own in found.values():
            own[2] += 3
        return found

    unit_beats = units.unit_beats
    monkeypatch.setattr(units, "unit_beats", late)
    ran = command("verify", run, *ALONE, "--json", "-q")
    assert ran.status == 1
    said = re.search(r"reference: beat 2 of '.*': cycle (\d+) in pyrtl, (\d+) predicted", ran.err)
    assert said
    assert int(said[1]) + 3 == int(said[2])
    assert [r["late"] for r in json.loads(ran.out)["wire_units"]] == [6, 3]  # k goes to two


def test_records_of_another_graph_are_counted_and_not_shown(run):
    assert command("verify", run, *ALONE, "-q").status == 0
    (one, _) = sorted((run / "steps").glob("wire-unit-*.json"))
    told = json.loads(one.read_text())
    told["result"]["origin"]["graph"] = "0" * 64
    one.write_text(json.dumps(told))
    assert command("report", run, "-q").status == 0
    assert [r["unit"] for r in tables(run)["wire_units"]] == ["vector.k"]
    assert (
        "1 records of wires in this run folder are of another graph"
        in (run / "report.html").read_text()
    )
    # What is damaged is done again, and then shown.
    one.write_text("{")
    assert command("verify", run, *ALONE, "-q").status == 0
    assert command("report", run, "-q").status == 0
    assert len(tables(run)["wire_units"]) == 2


def test_what_units_take_is_kept_and_shown(run, monkeypatch):
    """The counting itself is tested elsewhere: here it gives what it is told to."""
    pytest.importorskip("pyosys", reason="pip install cosim-toolkit[rtl]")
    asked = ("synth", run, "--lanes", "12,8,8,16", "--unit", "fir", "--json", "-q")
    figures = Synthesis("fir", "xcup", 301, 202, 3, 5, 1, 7, 4.5, "Yosys 0.0")
    monkeypatch.setattr(synthesis, "synthesised", lambda *_: figures)
    first = command(*asked)
    assert first.status == 0, first.err
    monkeypatch.setattr(synthesis, "synthesised", never)
    assert command(*asked).out == first.out
    assert command("report", run, "-q").status == 0
    row, total = tables(run)["resources"]
    assert (row["recipe"], row["unit"], row["tool"]) == (RECIPE, "fir", "Yosys 0.0")
    assert (row["luts"], row["ffs"], row["dsps"], row["brams"], row["urams"], row["levels"]) == (
        301, 202, 3, 2.5, 1, 7,
    )  # fmt: skip
    assert total["unit"] == "sum"
    assert '<section id="resources"' in (run / "report.html").read_text()
