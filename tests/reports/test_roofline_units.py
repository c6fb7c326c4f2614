"""A unit against its ceilings, by hand: a clock of 1 MHz, tokens of 1,000 cycles, 2 MB/s."""

import xml.etree.ElementTree as ET

import pytest

from reports.chart import limits
from reports.figures import roofline_figure
from reports.latency import UnitUse
from reports.roofline import Ceilings, OperatorCost
from reports.roofline_units import unit_points, unit_roofline, unit_table
from reports.svg import Frame, roofline_svg

CEILINGS = Ceilings(1e6, 64e6, 2e6, "matrix", "ddr4")


def cost(unit, macs, operations, moved, offchip=0.0, node="a"):
    return OperatorCost(
        "step", node, "op", unit, node, 10, macs, operations, moved, offchip, 1.0, ""
    )


def use(unit, busy, token=1000.0):
    return UnitUse("w4a4", unit, unit, busy, 0.0, 0.0, token)


def one(costs, busy):
    [point] = unit_points("w4a4", costs, [use("u", busy)], CEILINGS)
    return point


def test_the_rate_is_over_the_token_and_the_ceiling_over_the_busy_cycles():
    """Two products of 500 are 2,000 operations, in 1,000 cycles at 1 MHz: 2 M a second."""
    point = one([cost("u", 500, 0, 100.0), cost("u", 500, 7, 300.0, node="b")], 250.0)
    assert (point.operations, point.intensity) == (2000, 5.0)
    assert (point.rate, point.own_ceiling, point.memory_ceiling) == (2e6, 8e6, None)
    assert point.binds == "waits for others"


def test_a_unit_that_is_nearly_always_busy_is_held_back_by_its_lanes():
    point = one([cost("u", 0, 800, 100.0)], 900.0)
    assert point.binds == "its lanes"
    assert point.rate / point.ceiling == pytest.approx(0.9)


def test_off_chip_bytes_alone_count_where_there_are_any():
    """1,900 bytes in 1,000 us are 95 % of 2 MB a second."""
    point = one([cost("u", 1000, 0, 5000.0, 1900.0)], 500.0)
    assert point.is_offchip
    assert point.memory_ceiling == pytest.approx(2e6 * 2000 / 1900)
    assert point.rate / point.ceiling == pytest.approx(0.95)
    assert point.binds == "the memory"


def test_what_does_not_compute_has_no_point():
    costs = [cost("u", 0, 0, 100.0), cost("v", 1, 0, 0.0), cost("w", 1, 0, 4.0)]
    uses = [use("u", 5.0), use("v", 5.0), use("w", 0.0), use("x", 5.0)]
    assert unit_points("w4a4", costs, uses, CEILINGS) == ()
    assert unit_table(()).rows == ()


def test_the_stem_ends_at_the_own_ceiling():
    chart = unit_roofline("U", [one([cost("u", 500, 0, 100.0)], 250.0)], CEILINGS)
    frame = Frame(1000, 400, *limits(chart))
    [stem] = [e for e in ET.fromstring(roofline_svg(chart, 1000, 400)).iter()
              if e.get("class") == "stem"]  # fmt: skip
    y = float(stem.get("d").split("V")[1].split("M")[0])
    assert y == pytest.approx(frame.y(4e6), abs=0.1)
    lines = [x for x in roofline_figure(chart).axes[0].lines if x.get_marker() == "_"]
    assert [list(x.get_ydata()) for x in lines] == [[1e6, 4e6]]
