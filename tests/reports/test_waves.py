"""Signals by cycle: what is drawn is what was seen."""

import pytest

from cosim.ir.errors import InternalError
from reports.waves import Wave, stream_waves, waves_figure
from rtl.netlist import ports
from rtl.simulate import Drain, Feed, simulate, watched
from rtl.units.plan import unit_plans
from rtl.units.unit import unit_block
from tests.rtl.test_whole import layered
from tests.rtl.whole import design_of

SIGNALS = {"x_data": (0x21, 0xF0, 0x0F), "x_valid": (0, 1, 1), "x_ready": (1, 1, 0)}


def drawn(figure):
    """Return the texts in the plot, the boxes and the lines."""
    (axes,) = figure.axes
    return [t.get_text() for t in axes.texts], len(axes.collections), axes.lines


def test_words_are_drawn_where_they_are_valid():
    data, valid, ready = stream_waves(SIGNALS, "x", 8)
    texts, boxes, lines = drawn(waves_figure("x", (data, valid, ready), 0, 3))
    assert texts == ["240", "15"]
    assert boxes == 2
    # Two points a cycle: the flag's height in it, from its beginning to its end.
    assert [y > row for y, row in zip(lines[0].get_ydata(), [1] * 6, strict=True)] == [
        False, False, True, True, True, True,
    ]  # fmt: skip
    assert [y > 0 for y in lines[1].get_ydata()] == [True, True, True, True, False, False]


def test_elements_of_a_beat_are_signed():
    data = stream_waves(SIGNALS, "x", 8)[0]
    assert data.element(0, 4).values == (1, 0, -1)
    assert data.element(1, 4).values == (2, -1, 0)
    assert data.element(1, 4).valid == "x_valid"


def test_what_has_no_room_is_a_box_without_text():
    wide = Wave("y", 200, (1 << 190,) * 20)
    assert drawn(waves_figure("y", (wide,), 0, 20))[:2] == ([], 20)


def test_cycles_that_were_not_simulated_are_refused():
    with pytest.raises(InternalError, match="no cycles 0 to 4"):
        waves_figure("x", stream_waves(SIGNALS, "x", 8), 0, 4)


def test_every_port_is_watched_in_every_cycle():
    """Where both flags of a stream are up, its beat moves: so the trace says too."""
    _, design = design_of(layered(), 4)
    plan = unit_plans(layered(), design)["vector.head.q"]
    block = unit_block(plan)
    into, out = (next(w.name for w in side if w.name.endswith("data")) for side in ports(block))
    feeds = {into.removesuffix("_data"): Feed(range(3, 9), (2, 1, 3, 1, 1, 1))}
    drains = {out.removesuffix("_data"): Drain(6, (1, 4, 1, 1, 2, 1))}
    trace, signals = watched(block, feeds, drains)
    assert trace == simulate(block, feeds, drains)
    assert {len(v) for v in signals.values()} == {trace.total_cycles}
    for stream, cycles in trace.cycles.items():
        flags = zip(signals[f"{stream}_valid"], signals[f"{stream}_ready"], strict=True)
        assert tuple(c for c, (a, b) in enumerate(flags) if a and b) == cycles
    (name,) = drains
    assert tuple(signals[out][c] for c in trace.cycles[name]) == trace.beats[name]
