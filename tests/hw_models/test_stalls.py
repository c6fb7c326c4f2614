"""Who waits for whom: against closed forms, and against the sums per unit."""

import pytest

from cosim.machine import load_machine
from hw_models.dataflow import solve
from hw_models.network import Actor, Channel, Firing, Network, Program
from hw_models.simulate import simulate
from hw_models.stalls import StallRow, stall_rows
from quant.configs import find_config
from quant.from_config import lower_config
from quant.recipes import find_recipe


def pair(beats: int, make: int, take: int, depth: int) -> Network:
    maker = Actor("maker", Program.of((beats, Firing((), ("f",), 1, make))))
    taker = Actor("taker", Program.of((beats, Firing(("f",), (), 1, take))))
    return Network((maker, taker), {"f": Channel(depth)})


@pytest.mark.parametrize(("beats", "gap", "depth"), [(10, 3, 2), (50, 7, 5), (4, 2, 1)])
def test_a_slow_taker_makes_its_maker_wait_for_room(beats, gap, depth):
    """Beat n finds a place one cycle after beat n - depth is popped, at 1 + gap (n - depth).

    So the maker's last beat starts at 2 + gap (beats - 1 - depth), and all before it took 1 each.
    """
    rows = stall_rows([(solve(pair(beats, 1, gap, depth)), 1.0, -1)])
    waits = 2 + gap * (beats - 1 - depth) - (beats - 1)
    assert StallRow("maker", "room", "f", "taker", waits) in rows
    assert StallRow("taker", "input", "f", "maker", 1.0) in rows  # for the first beat only
    assert len(rows) == 2


def test_a_slow_maker_makes_its_taker_wait_for_input():
    rows = stall_rows([(solve(pair(10, 4, 1, 8)), 0.5, None)])
    assert rows == (StallRow("taker", "input", "f", "maker", 0.5 * (1 + 9 * 3)),)


def test_the_waits_at_all_fifos_of_a_unit_are_its_row():
    recipe = find_recipe("w4a4")
    model = lower_config("m", find_config("mamba2-130m"), recipe)
    found = simulate(model, load_machine("vck190"))
    for unit in found.units:
        own = [s for s in found.stalls if s.unit == unit.unit]
        assert sum(s.cycles for s in own if s.cause == "input") == unit.starved_cycles
        assert sum(s.cycles for s in own if s.cause == "room") == unit.blocked_cycles
    assert any(s.cause == "room" for s in found.stalls)
