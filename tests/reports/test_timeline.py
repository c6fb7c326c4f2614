"""The timeline on the page and on paper: a stretch stands where its cycles say."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from reports.chart import Span, Timeline
from reports.figures import timeline_figure
from reports.svg_timeline import RIGHT_PX, even_ticks, timeline_svg
from reports.timeline import MOST_SPANS, Stall, TaskSpan, stalls_table, timeline

CHART = Timeline(
    "timeline",
    "Time <line>",
    "modelled",
    (
        Span("matrix", "turn 0", 0, 500, "a < b"),
        Span("norm", "turn 0", 500, 600, "c"),
        Span("matrix", "turn 1", 600, 1000, "d"),
    ),
)


def drawn(width):
    return [e for e in ET.fromstring(timeline_svg(CHART, width)).iter() if e.tag.endswith("rect")]


@pytest.mark.parametrize("width", [1040, 336])
def test_stretches_are_as_long_as_their_cycles(width):
    first, other, last = drawn(width)
    cycle = float(first.get("width")) / 500
    assert float(other.get("x")) - float(first.get("x")) == pytest.approx(500 * cycle, abs=0.02)
    assert float(last.get("x")) + float(last.get("width")) == pytest.approx(
        width - RIGHT_PX, abs=0.02
    )
    assert float(other.get("width")) == pytest.approx(100 * cycle, abs=0.02)


def test_a_unit_has_one_track_and_a_turn_one_colour():
    first, other, last = drawn(1040)
    assert first.get("y") == last.get("y") != other.get("y")
    assert [e.get("class") for e in (first, other, last)] == ["s0", "s0", "s1"]
    assert first.get("data-tip") == "a < b"


def test_nothing_to_show_is_no_error():
    ET.fromstring(timeline_svg(Timeline("t", "T", "modelled", ()), 336))


def test_paper_shows_the_same():
    patches = timeline_figure(CHART).axes[0].patches
    assert [(p.get_x(), p.get_width()) for p in patches] == [(0, 500), (500, 100), (600, 400)]
    assert patches[0].get_y() == patches[2].get_y() != patches[1].get_y()


def test_only_the_recipe_asked_for_is_drawn_and_a_cut_is_told():
    spans = [TaskSpan("w4a4", "step", "u", "layers.*.t", k, k, k + 1) for k in range(MOST_SPANS)]
    spans.append(TaskSpan("w8a8", "step", "u", "layers.*.t", 0, 0, 9))
    cut, whole = timeline("w4a4", spans), timeline("w8a8", spans)
    assert len(cut.spans) == MOST_SPANS
    assert cut.spans[7].text == "u: layers.7.t, cycles 7 to 8 (1)"
    assert "trace.json" in cut.note
    assert "trace.json" not in whole.note


@pytest.mark.parametrize("end", [1, 7, 19, 20, 21, 1108, 999_999, 27_614_997])
@pytest.mark.parametrize("most", [4, 8])
def test_ticks_are_few_even_and_not_too_few(end, most):
    ticks = even_ticks(end, most)
    assert len({b - a for a, b in pairwise(ticks)}) <= 1
    assert min(2, end + 1) <= len(ticks) <= most
    assert ticks[-1] <= end


def test_a_stall_is_shown_as_a_share_of_the_token():
    table = stalls_table([Stall("w4a4", "matrix", "input", "weights", "memory", 25.0, 100.0)])
    assert table.rows == (("w4a4", "matrix", "input", "weights", "memory", 25.0, 0.25),)
