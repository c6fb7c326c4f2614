"""A design space as tables, pictures and a page: what is on the front, and what is said of it."""

import csv
import io
import re
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from cosim.ir.errors import InternalError
from reports.figures import render, scatter_figure
from reports.pareto import (
    MOST_BEATEN,
    DesignPoint,
    DesignSpace,
    Objective,
    charts,
    counts_table,
    front_table,
    points_table,
    reasons_table,
)
from reports.pareto_page import MOST_ROWS, pareto_page
from reports.scatter import Axis, Dot, axis_over, stairs_of
from reports.svg_scatter import scatter_svg
from reports.table import Column
from tests.browser import Browser, View, needs_chromium
from tests.reports.test_html import CONTRAST, References

CHOICES = (
    Column("model", "model"), Column("recipe", "recipe"), Column("machine", "machine"),
    Column("rows", "rows", "given"),
)  # fmt: skip
FIGURES = (Column("speed", "tokens/s", "modelled"), Column("luts", "LUTs", "modelled"))
GOALS = (Objective("speed", "more"), Objective("luts", "less"))


def point(number, speed=None, luts=100.0, reason="", front=False, machine="u280", rows=None):
    rows = number if rows is None else rows
    choices = ("m", "w4a4", machine, rows)
    return DesignPoint(number, choices, (speed, luts), reason, "unit matrix", front)


def space(points, ties=0, **changes) -> DesignSpace:
    made = {
        "name": "small", "version": "0", "choices": CHOICES, "figures": FIGURES,
        "objectives": GOALS, "points": tuple(points), "ties": ties,
        "facts": (("The study", "a: 1"),),
    }  # fmt: skip
    return DesignSpace(**{**made, **changes})


SMALL = space(
    [
        point(0, 10.0, 5.0, front=True),
        point(1, 40.0, 50.0, front=True),
        point(2, 9.0, 60.0, machine="vck190"),
        point(3, reason="it needs 7 DSP of 5"),
        point(4, reason="it needs 8 DSP of 5"),
    ]
)


def test_tables_hold_every_point_and_the_front_best_first():
    rows = list(csv.DictReader(io.StringIO(points_table(SMALL).csv())))
    assert [r["front"] for r in rows] == ["yes", "yes", "no", "no", "no"]
    assert [r["speed"] for r in rows] == ["10.0", "40.0", "9.0", "", ""]
    front = front_table(SMALL)
    assert [row[0] for row in front.rows] == [1, 0]
    assert [c.key for c in front.columns] == ["point", "machine", "rows", "speed", "luts", "binds"]
    assert front.note == (
        "All points share model m, recipe w4a4. No two points of the front have the same "
        "objectives."
    )
    assert counts_table(SMALL).rows == ((5, 3, 2, 2),)
    assert reasons_table(SMALL).rows == (("it needs … DSP of …", 2),)
    assert front_table(space(SMALL.points, ties=2)).note.endswith(
        "2 of the front have the same objectives as another one there; all are kept."
    )


def test_an_objective_that_is_no_figure_is_a_fault():
    with pytest.raises(InternalError, match="'size' is not among"):
        space([], objectives=(Objective("size", "less"),))


def test_stairs_bound_all_points():
    """No point is beyond the line: to the right of it and below it."""
    rng = np.random.default_rng(3)
    dots = [Dot("s", x, y, True, "") for x, y in rng.integers(1, 50, (200, 2)).tolist()]
    more, less = Axis("x", "more", 1, 50, False), Axis("y", "less", 1, 50, False)
    corners = stairs_of(more, less, dots)
    assert corners[0] == (max(d.x for d in dots), min(d.y for d in dots if d.x == corners[0][0]))
    assert corners[-1][1] == min(d.y for d in dots)
    for (x0, y0), (x1, y1) in pairwise(corners):
        assert x0 == x1 or y0 == y1, "a step is level or upright"
        assert x1 <= x0
        assert y1 <= y0
    for dot in dots:
        assert any(dot.x <= x and dot.y >= y for x, y in corners)
        assert not any(dot.x > x and dot.y < y for x, y in corners)


@pytest.mark.parametrize(
    "values",
    [[], [0.0], [7.0], [1.0, 1.001], [0.0, 3e9], [1e-9, 1e9], [3.0, 20.0], [-5.0, 5.0]],
)
def test_an_axis_holds_its_values_and_has_ticks(values):
    axis = axis_over("x", "more", values)
    assert all(axis.low <= v <= axis.high for v in values)
    assert all(0 <= axis.share(v) <= 1 for v in values)
    for most in (3, 4, 9):
        ticks = axis.ticks(most)
        assert 1 <= len(ticks) <= most + 2
        assert ticks == sorted(set(ticks))
        assert all(axis.low <= t <= axis.high for t in ticks)


def test_points_lie_where_their_numbers_say():
    [chart] = charts(SMALL)
    svg = scatter_svg(chart, 600, 400)
    found = re.findall(r'class="point ([^"]*)" d="M([\d.]+) ([\d.]+)', svg)
    assert [look for look, _, _ in found] == ["s1 hollow", "s0", "s0"]
    xs, ys = ([float(f[i]) for f in found] for i in (1, 2))
    # Beaten ones first, then the front from the fastest on: speeds 9, 40, 10; LUTs 60, 50, 5.
    assert xs[0] < xs[2] < xs[1]
    assert ys[0] < ys[1] < ys[2]
    assert svg.count('tabindex="0"') == 2
    assert "point 3" not in svg, "what does not fit has no place"


def test_a_picture_of_too_many_points_is_thinned_and_says_so():
    many = [point(k, 1.0 + k, 2000.0, front=k == 4999) for k in range(5000)]
    [chart] = charts(space(many))
    assert len(chart.dots) <= MOST_BEATEN + 1
    assert chart.dots[0].stands_out
    assert "Of 4,999 beaten points, each 13th is drawn." in chart.note
    page = pareto_page(space(many))
    assert f"The first {MOST_ROWS} of 5,000 rows; points.csv has all." in page
    assert len(page) < 1_500_000


def test_one_objective_or_no_point_has_no_picture():
    assert charts(space(SMALL.points, objectives=GOALS[:1])) == ()
    assert charts(space(SMALL.points[3:])) == ()
    assert "No point fits" in pareto_page(space(SMALL.points[3:]))


def test_figures_are_the_same_again():
    [chart] = charts(SMALL)
    assert isinstance(scatter_figure(chart), Figure)
    first, again = render(scatter_figure(chart)), render(scatter_figure(chart))
    assert first == again
    assert set(first) == {"svg", "png"}


def test_the_page_is_whole_and_escapes_names():
    parser = References()
    text = pareto_page(SMALL)
    parser.feed(text)
    assert parser.found == []
    assert re.findall(r'<section id="(\w+)"', text) == ["front", "points", "sources"]
    evil = pareto_page(space([point(0, 1.0, front=True, machine="<b>x")], name="<script>"))
    assert "<b>x" not in evil
    assert "<h1><script>" not in evil


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_legible(tmp_path, width, dark):
    path = tmp_path / "report.html"
    path.write_text(pareto_page(SMALL), encoding="utf-8")
    with Browser() as browser:
        opened = browser.open(path, View(width=width, dark=dark))
        opened.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert opened.errors == []
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate(CONTRAST) == []
        assert opened.evaluate("document.querySelectorAll('svg.roofline').length") == 2
