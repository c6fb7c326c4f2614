"""Figures on paper: the same data as the page, the same bytes each time."""

import re
import xml.etree.ElementTree as ET

import pytest

from cosim.ir.errors import InternalError
from reports.chart import Bar, Bars, Ceiling, Part, Point, Roofline, limits
from reports.figures import bars_figure, render, roofline_figure, run_figures
from reports.summary import Summary
from reports.svg import RADIUS, Frame, roofline_svg
from tests.reports.example import RECIPES, summary

CHART = Roofline(
    "roofline",
    "Roof <line>",
    "modelled",
    (
        Point("in_proj", "matrix", 2.0, 4e9, True, "in_proj: 4 G"),
        Point("state", "state", 0.5, 1e9, False, 'state "on chip"'),
    ),
    (Ceiling("compute", 1e10, sloped=False), Ceiling("memory", 2e9, sloped=True)),
)


def test_the_limits_hold_points_and_ridge():
    x_low, x_high, y_low, y_high = limits(CHART)
    assert x_low < 2.0
    assert x_high > 5.0  # the ridge
    assert y_low < 1e9
    assert y_high > 1e10


def test_the_axes_are_logarithmic():
    frame = Frame(1000, 400, 0.1, 1000.0, 1e8, 1e12)
    assert frame.x(10) - frame.x(1) == pytest.approx(frame.x(1) - frame.x(0.1))
    assert frame.y(1e10) < frame.y(1e9)
    assert frame.x(1000.0) == pytest.approx(frame.right)


def test_svg_is_well_formed_and_has_a_point_per_operator():
    root = ET.fromstring(roofline_svg(CHART, 800, 400))
    points = [e for e in root.iter() if "point" in e.get("class", "").split()]
    assert [p.get("data-tip") for p in points] == ["in_proj: 4 G", 'state "on chip"']
    assert {p.get("class") for p in points} == {"point s0 hollow", "point s1"}


def test_svg_points_stand_where_the_data_says():
    root = ET.fromstring(roofline_svg(CHART, 800, 400))
    frame = Frame(800, 400, *limits(CHART))
    drawn = [e.get("d") for e in root.iter() if "point" in e.get("class", "").split()]
    starts = [tuple(map(float, re.match(r"M(\S+) ([\d.]+)", d).groups())) for d in drawn]
    # A circle starts at its left end, a square at its upper left corner.
    assert starts[0] == pytest.approx((frame.x(2.0) - RADIUS, frame.y(4e9)), abs=0.1)
    on_chip = (frame.x(0.5) - RADIUS, frame.y(1e9) - RADIUS)
    assert starts[1] == pytest.approx(on_chip, abs=0.1)


def test_svg_ceilings_meet_at_the_ridge():
    root = ET.fromstring(roofline_svg(CHART, 800, 400))
    flat, slope = [e for e in root.iter() if e.get("class") == "ceiling"]
    frame = Frame(800, 400, *limits(CHART))
    assert float(flat.get("x1")) == pytest.approx(frame.x(5.0), abs=0.1)
    assert float(slope.get("x2")) == pytest.approx(float(flat.get("x1")), abs=0.1)
    assert float(slope.get("y2")) == pytest.approx(float(flat.get("y1")), abs=0.1)


def test_paper_points_stand_where_the_data_says():
    [axes] = roofline_figure(CHART).axes
    drawn = {c.get_label(): c for c in axes.collections}
    assert drawn["matrix"].get_offsets().tolist() == [[2.0, 4e9]]
    assert drawn["state"].get_offsets().tolist() == [[0.5, 1e9]]
    assert drawn["matrix"].get_facecolor().tolist() == [[1, 1, 1, 1]]
    assert drawn["state"].get_facecolor().tolist() != [[1, 1, 1, 1]]


def test_paper_bars_are_as_long_as_the_data():
    chart = Bars("b", "B", "measured", (Bar("a", (Part("p", 3.0, "3"), Part("q", 1.0, "1")), "4"),))
    patches = bars_figure(chart).axes[0].patches
    assert [(p.get_x(), p.get_width()) for p in patches] == [(0.0, 3.0), (3.0, 1.0)]


def test_a_negative_or_unknown_part_is_refused():
    for value in (-1.0, float("nan")):
        with pytest.raises(InternalError):
            Bars("b", "B", "measured", (Bar("a", (Part("p", value, "?"),), "?"),))


def test_each_recipe_has_its_figures_and_an_empty_run_none():
    assert set(run_figures(summary())) == {
        "accuracy",
        "energy",
        *(f"resources_{kind}-w4a4-1" for kind in ("luts", "ffs", "dsps")),
        *(
            f"{kind}-{r}"
            for kind in ("roofline", "unit-roofline", "tasks", "units", "timeline")
            for r in RECIPES
        ),
    }
    assert run_figures(Summary("m", "", "c", "0")) == {}


def test_the_same_run_gives_the_same_svg_and_a_png():
    first, again = (render(run_figures(summary())["energy"]) for _ in range(2))
    assert first["svg"] == again["svg"]
    assert first["png"].startswith(b"\x89PNG\r\n")
