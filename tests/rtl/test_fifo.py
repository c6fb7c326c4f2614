"""A FIFO holds what it promises: places by credit, beats in order, the times of the contract."""

from collections import deque

import numpy as np
import pyrtl
import pytest

from cosim.ir.errors import UserError
from rtl.netlist import building
from rtl.streams import drive
from rtl.units.fifo import fifo


def block_of(depth: int, bits: int, initial: int):
    with building() as block:
        queue = fifo(depth, bits, initial)
        for name in ("reserve", "push", "beat", "pop"):
            target = getattr(queue, name)
            drive(target, pyrtl.Input(len(target), name))
        for name in ("has_place", "valid", "data"):
            source = getattr(queue, name)
            drive(pyrtl.Output(len(source), f"o_{name}"), source)
    return block


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8, 33])
@pytest.mark.parametrize("latency", [1, 2, 6])
def test_beats_and_places_come_and_go_as_a_queue_says(depth, latency):
    """The model: a list of arrival times and a list of the times at which places came free."""
    rng = np.random.default_rng(depth * 10 + latency)
    for initial in {0, depth // 2, depth}:
        simulation = pyrtl.FastSimulation(tracer=None, block=block_of(depth, 8, initial))
        beats = deque([(0, 0)] * initial)
        places = deque([0] * (depth - initial))
        coming: dict[int, int] = {}
        for now in range(400):
            eager = 0.9 if now // 50 % 2 else 0.3
            has_place, valid = bool(places) and places[0] <= now, bool(beats) and beats[0][0] <= now
            reserve, pop = has_place and rng.random() < eager, valid and rng.random() < 1.1 - eager
            if reserve:
                places.popleft()
                value = int(rng.integers(1, 256))
                beats.append((now + latency, value))
                coming[now + latency - 1] = value
            simulation.step({
                "reserve": int(reserve), "push": int(now in coming), "beat": coming.get(now, 0),
                "pop": int(pop),
            })  # fmt: skip
            assert simulation.inspect("o_has_place") == has_place, now
            assert simulation.inspect("o_valid") == valid, now
            if valid:
                assert simulation.inspect("o_data") == beats[0][1], now
            if pop:
                beats.popleft()
                places.append(now + 1)


@pytest.mark.parametrize(("depth", "bits", "initial"), [(0, 8, 0), (2, 0, 0), (2, 8, 3)])
def test_what_cannot_be_built_is_a_sentence(depth, bits, initial):
    with building(), pytest.raises(UserError, match="at least one place of one bit"):
        fifo(depth, bits, initial)
