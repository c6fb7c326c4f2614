"""What is shown of cost by length, and the page with all that was studied beside a run."""

import re
from dataclasses import replace

import pytest

from reports.figures import scatter_figure
from reports.html import page
from reports.lengths import LengthRow, charts, sentences, table
from reports.pareto_page import pareto_page
from reports.svg_scatter import scatter_svg
from reports.validation import page_html
from tests.browser import Browser, View, needs_chromium
from tests.reports.example import summary
from tests.reports.test_html import CONTRAST, References
from tests.reports.test_pareto import SMALL
from tests.reports.test_validation import FOUND


def rows(recipe="w4a4", decode=(100.0, 100.0, 100.0), prefill=(90.0, 30.0, 30.5)):
    made = [
        LengthRow(recipe, "decode", 4**k, cycles, cycles / 1e6, 5e3, "unit matrix")
        for k, cycles in enumerate(decode)
    ]
    return tuple(made) + tuple(
        LengthRow(recipe, "prefill", 4**k, cycles, 4**k * cycles / 1e6, 9e3 / 4**k, "unit matrix")
        for k, cycles in enumerate(prefill)
    )


BOTH = rows("w8a8") + rows()
RUN = replace(summary(), lengths=BOTH, space=SMALL, validation=FOUND)


def test_equal_costs_are_called_flat_and_others_are_not():
    flat, falls = sentences(rows())
    assert flat == (
        "A generated token costs the same after any number of tokens (w4a4): the line is flat, for "
        "a recurrent state does not grow."
    )
    assert falls == (
        "A token of a prompt changes from length 1 to 16: w4a4 -66.1 % cycles and -93.8 % energy."
    )
    (grown,) = sentences(rows(decode=(100.0, 100.0, 100.1), prefill=()))
    assert "flat" not in grown
    assert "w4a4 +0.1 % cycles and +0.0 % energy" in grown
    dearer = (*rows(prefill=())[:-1], replace(rows(prefill=())[-1], energy_pj_per_token=6e3))
    assert "flat" not in sentences(dearer)[0], "a cache that grows costs energy alone"
    assert sentences(()) == ()


def test_the_table_has_a_row_per_point():
    found = table(BOTH)
    assert len(found.rows) == 12
    assert found.records()[5] == {
        "recipe": "w8a8", "phase": "prefill", "tokens": 16, "cycles_per_token": 30.5,
        "milliseconds": pytest.approx(0.488), "energy_uj_per_token": pytest.approx(5.625e-4),
        "binds": "unit matrix",
    }  # fmt: skip


def test_a_line_joins_the_points_of_a_recipe_from_left_to_right():
    decode, prefill = charts(tuple(reversed(BOTH)))
    assert decode.lines() == {"w4a4": [(1, 100), (4, 100), (16, 100)],
                              "w8a8": [(1, 100), (4, 100), (16, 100)]}  # fmt: skip
    assert prefill.y.low == 0, "a flat line must look flat"
    svg = scatter_svg(decode, 1040, 440)
    lines = re.findall(r'<polyline class="line s\d" points="([^"]+)"', svg)
    assert len(lines) == 2
    for line in lines:
        places = [tuple(map(float, place.split(","))) for place in line.split()]
        assert len({y for _, y in places}) == 1, "equal costs lie on a level line"
        assert places == sorted(places)
    assert "tokens seen before</text>" in svg, "no length is better than another"
    assert svg.count("<path") == 6
    drawn = scatter_figure(prefill).axes[0]
    assert [list(line.get_ydata()) for line in drawn.lines] == [[90.0, 30.0, 30.5]] * 2
    assert charts(()) == ()


def test_all_that_was_studied_is_on_the_page_and_in_the_summary():
    text = page(RUN)
    assert re.findall(r'<section id="(\w+)"', text) == [
        "coverage", "accuracy", "exactness", "wires", "hardware", "resources", "energy", "lengths",
        "space", "validation", "quantisation", "samples", "sources",
    ]  # fmt: skip
    parser = References()
    parser.feed(text)
    assert parser.found == []
    names = list(RUN.to_json()["tables"])
    assert {"lengths", "counts", "front", "validation"} <= set(names)
    assert len(names) == len(set(names))
    for name in ("lengths", "counts", "front", "validation"):
        assert f'id="t-{name}"' in text


PAGES = {"run": lambda: page(RUN), "validation": lambda: page_html(FOUND, "cosim validate"),
         "sweep": lambda: pareto_page(SMALL)}  # fmt: skip


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_legible(tmp_path, name, width, dark):
    path = tmp_path / "report.html"
    path.write_text(PAGES[name](), encoding="utf-8")
    with Browser() as browser:
        opened = browser.open(path, View(width=width, dark=dark))
        opened.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert opened.errors == []
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate(CONTRAST) == []
        hidden = opened.evaluate(
            "[...document.querySelectorAll('svg.roofline')].filter(e => e.getClientRects().length)"
            ".filter(e => e.getBoundingClientRect().right > innerWidth).length"
        )
        assert hidden == 0
        lines = opened.evaluate(
            "[...document.querySelectorAll('svg .line')].filter(e => e.getClientRects().length)"
            ".map(e => [getComputedStyle(e).fill, getComputedStyle(e).stroke])"
        )
        assert len(lines) == (4 if name == "run" else 0)
        assert all(fill == "none" and stroke != "none" for fill, stroke in lines)
        assert len({stroke for _, stroke in lines}) == (2 if name == "run" else 0)
