"""A port's pattern: exact in the long run, the same in wires as in the formula, never too early."""

import random
from fractions import Fraction

import numpy as np
import pytest

from cosim.machine import Pace, Port, list_machines, load_machine
from cosim.machine.memory import exact


def counted(beats, burst, over, under):
    """Serve beats as wires do: a credit that grows by `under` a cycle and pays for whole bursts."""
    served, credit, left, cycle = [], 0, 0, 0
    while len(served) < beats:
        if left == 0 and credit >= 0:
            left, credit = burst, credit - burst * over
        if left > 0:
            served.append(cycle)
            left -= 1
        credit += under
        cycle += 1
    return served


@pytest.mark.parametrize("seed", range(40))
def test_a_counter_in_wires_serves_the_same_cycles(seed):
    chance = random.Random(seed)
    under = chance.randrange(1, 60)
    over = under + chance.randrange(0, 4 * under)
    burst = chance.choice([1, 2, 3, 7, 16, 61])
    beats = chance.randrange(1, 400)
    pace = Pace(burst, over, under)
    expected = counted(beats, burst, over, under)
    assert [pace.cycle(k) for k in range(beats)] == expected
    assert pace.cycle(np.arange(beats)).tolist() == expected, "whole arrays give the same"


@pytest.mark.parametrize(("burst", "over", "under"), [(1, 32, 25), (16, 9, 8), (7, 10, 3)])
def test_the_long_run_is_exact(burst, over, under):
    """After n x under whole bursts the next begins at exactly n x burst x over cycles."""
    pace = Pace(burst, over, under)
    for n in range(1, 200):
        assert pace.cycle(n * under * burst) == n * burst * over
        assert pace.free(n * under * burst) == n * burst * over


def test_beats_of_a_burst_come_back_to_back_and_no_port_is_faster_than_its_share():
    pace = Pace(8, 5, 4)
    cycles = pace.cycle(np.arange(8 * 100)).reshape(100, 8)
    assert (np.diff(cycles, axis=1) == 1).all()
    assert (cycles[1:, 0] - cycles[:-1, -1] >= 1).all()
    for beats in range(1, 300):
        assert pace.free(beats) >= Fraction(beats * 5, 4)
        assert pace.free(beats) - Fraction(beats * 5, 4) < 1
        assert pace.free(beats) > pace.cycle(beats - 1)


def test_a_full_rate_port_never_pauses():
    assert Port(Fraction(600), 5, Fraction(4096)).pace(512) == Pace(8, 1, 1)
    assert Pace(8, 1, 1).cycle(np.arange(50)).tolist() == list(range(50))


@pytest.mark.parametrize("name", list_machines())
@pytest.mark.parametrize("part", [Fraction(1), Fraction(60, 64), Fraction(2, 64)])
def test_every_machines_efficiency_is_reached_exactly(name, part):
    """Bits served over cycles is channels x width x rate x efficiency x share / clock: ==."""
    machine = load_machine(name)
    for memory in machine.memories:
        port = machine.port(memory, part)
        bits = int(port.bits_per_cycle) + 101  # a beat that the port cannot bring every cycle
        pace = port.pace(bits)
        whole = pace.under * pace.burst
        served = Fraction(whole * bits, pace.free(whole))
        peak = memory.channels * memory.width_bits * exact(memory.rate_mt_s)
        assert served == peak * exact(memory.efficiency) * part / exact(machine.clock.frequency_mhz)
        assert pace.burst * bits <= max(memory.burst_bits * part, bits)
