"""Exactness of the wires and resources: what the page, the tables and the files say of them."""

import json
import re
from dataclasses import replace

import pytest

from cosim.flow.outputs import write_outputs
from cosim.ir.errors import InternalError
from reports import resources, synthesis
from reports.html import page
from reports.summary import Summary, headlines
from tests.browser import Browser, View, needs_chromium
from tests.reports.example import DESIGN, summary, synthesis_row, unit_check, wires_check

WHOLE = "token 7, logits[3]: 5 in verilator, 6 in the reference"
UNIT = "drawn values, gaps and stalls: beat 4 of 'x -> y': 0x5 in verilator, 0x6 meant"
VERDICT = r'<section id="wires".*?<p class="verdict (\w+)">(.*?)</p>'


def verdict(run) -> tuple[str, str]:
    """Return whether the page finds the wires good or bad, and its sentence."""
    found = re.search(VERDICT, page(run), re.DOTALL)
    assert found
    return found[1], found[2]


def test_equal_wires_are_said_with_what_was_compared():
    kind, text = verdict(summary())
    assert kind == "good"
    # Two prompts and six units.
    assert f"All of {2 * 17_733 + 6 * 26_784:,} compared integers" in text
    assert f"each of {2 * 2_277 + 6 * 3_360:,} beats moved in its predicted cycle" in text


def test_cycles_that_nobody_compared_are_not_claimed():
    check = replace(wires_check("def ", None), beats=0)
    kind, text = verdict(replace(summary(), wires=(check,), wire_units=()))
    assert (kind, "cycles were not compared" in text, "predicted" in text) == ("good", True, False)


@pytest.mark.parametrize("where", ["whole", "unit"])
def test_a_difference_is_shown_with_its_place(where):
    run = summary(None, WHOLE if where == "whole" else None, UNIT if where == "unit" else None)
    kind, text = verdict(run)
    assert kind == "bad"
    said = {"whole": "logits[3]: 5 in verilator", "unit": "beat 4 of &#x27;x -&gt; y&#x27;"}[where]
    assert said in text
    assert run.mismatches == tuple(
        c.sentence for c in (*run.wires, *run.wire_units) if not c.is_exact
    )
    assert len(run.mismatches) == 1


def test_what_is_of_other_code_is_counted_and_not_shown():
    assert "2 records of wires in this run folder are of another graph" in page(summary())
    assert "records of wires" not in page(replace(summary(), stale=0))
    bare = Summary("m", "", "cosim walk m", "0", stale=1)
    assert re.findall(r'<section id="(\w+)"', page(bare)) == ["wires", "sources"]


def test_what_nobody_compared_has_no_section():
    bare = Summary("m", "", "cosim walk m", "0", exactness=summary().exactness)
    assert re.findall(r'<section id="(\w+)"', page(bare)) == ["exactness", "sources"]
    assert "off in wires" not in [h.label for h in headlines(bare)]


def test_the_headline_counts_bits_and_cycles():
    found = {h.label: h for h in headlines(summary())}["off in wires"]
    assert (found.value, found.origin) == ("0", "measured")
    assert found.detail == "of 35,466 integers and 4,554 beats"
    found = {h.label: h for h in headlines(summary(None, WHOLE))}["off in wires"]
    assert found.value == "6"  # three integers and three beats


def test_a_comparison_of_nothing_is_refused():
    with pytest.raises(InternalError, match="compared nothing"):
        replace(unit_check("fir", None), beats=0)
    with pytest.raises(InternalError, match="fir: 0, 1, None"):
        replace(unit_check("fir", None), late=1)


def test_resources_name_the_tool_of_each_number():
    run = summary()
    rows = resources.table(run.resources).records()
    assert {(r["recipe"], r["design"], r["tool"]) for r in rows} == {
        ("w4a4", DESIGN, "Yosys 0.70"),
    }  # fmt: skip
    *units, total = rows
    assert [r["luts"] for r in units] == [1000 * len(r["unit"]) for r in units]
    assert total["luts"] == sum(r["luts"] for r in units)
    # All that synthesis says of a unit is there: nothing is left out on the way.
    assert {c.key for c in synthesis.table(run.resources[0].rows, "xcup", "Yosys").columns} < set(
        rows[0]
    )


def test_bars_of_resources_begin_with_the_largest():
    luts, ffs, _dsps = resources.bars(summary().resources[0])
    assert [b.total for b in luts.bars] == sorted((b.total for b in luts.bars), reverse=True)
    assert luts.bars[0].label == "hadamard"
    assert "Yosys 0.70" in ffs.note
    none = replace(summary().resources[0], rows=(replace(synthesis_row("fir"), dsps=0),))
    assert [c.name for c in resources.bars(none)] == ["resources_luts", "resources_ffs"]


def test_files_hold_the_tables(tmp_path):
    run = replace(summary(), costs=(), spans=())
    write_outputs(run, {}, tmp_path)
    told = json.loads((tmp_path / "summary.json").read_text())["tables"]
    for name, count in (("wires", 2), ("wire_units", 6), ("resources", 7)):
        assert len((tmp_path / f"{name}.csv").read_text().splitlines()) == 1 + count
        assert len(told[name]["rows"]) == count
    names = {p.name for p in (tmp_path / "figures").glob("resources*.svg")}
    assert names == {f"resources_{k}-w4a4-1.svg" for k in ("luts", "ffs", "dsps")}


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_the_tables_scroll_by_themselves_and_sort(tmp_path, width):
    file = tmp_path / "report.html"
    file.write_text(page(summary(None, WHOLE, UNIT)), encoding="utf-8")
    with Browser() as browser:
        opened = browser.open(file, View(width=width))
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        for name in ("wires", "wire_units", "resources"):
            box = f"document.getElementById('t-{name}').closest('.scroll')"
            assert opened.evaluate(f"{box}.getBoundingClientRect().width") <= width
        rows = "[...document.querySelectorAll('#t-resources tbody tr')]"
        units = f"{rows}.map(r => r.cells[1].textContent)"
        before = opened.evaluate(units)
        opened.evaluate("document.querySelectorAll('#t-resources th button')[1].click()")
        assert opened.evaluate(units) != before
        assert sorted(opened.evaluate(units)) == sorted(before)
        assert opened.errors == []
