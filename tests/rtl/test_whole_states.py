"""A whole accelerator whose states live off chip, in the memory's own pattern: bits and cycles.

The memory gives back what was written (noise before the first token, which must not matter), and
what goes out is compared with the reference's states.
"""

import random
from dataclasses import replace

import numpy as np
import pytest

from cosim.design import Lanes
from cosim.design.plan import STATE_FIFOS
from cosim.flow.whole import limit_of
from cosim.reference import run as refer
from rtl.elaborate import elaborate, one_block
from rtl.hierarchy import export_all
from rtl.simulate import ON_BLOCK, simulate
from rtl.units.alone import states_of
from rtl.units.values import recorded
from rtl.whole import outside, read
from tests.rtl.simulators import needs
from tests.rtl.test_whole import generated
from tests.rtl.units.models import small
from tests.rtl.whole import design_of, predicted

_, STATE_OUT = STATE_FIFOS
ALL_OFF = (("weights", "memory"), ("states", "memory"), ("embedding", "chip"))
STATES_OFF = (("weights", "chip"), ("states", "memory"), ("embedding", "chip"))


def check(model, machine, design, inputs, simulator):
    made = elaborate(model, design)
    tokens = len(inputs["token"])
    ran = refer(model, inputs, keep=None)
    (plan,) = [p for p in made.plans.values() if p.kind == "state"]
    want = states_of(plan, recorded(plan, ran.values), tokens, random.Random(3))[STATE_OUT]
    own = {"token": inputs["token"][:1]}
    around = outside(made, own, tokens, {"token": "next"}, machine)
    told = predicted(model, machine, design, tokens)
    block = one_block(model, design) if simulator in ON_BLOCK else export_all(made).whole
    trace = simulate(
        block, around.feeds, around.drains, simulator, limit_of(told), turns=around.turns
    )  # fmt: skip
    got = [w & b.mask for w, b in zip(trace.beats[made.names[STATE_OUT]], want, strict=True)]
    assert got == [b.word & b.mask for b in want], "states that go out"
    outputs = read(made, trace, tokens)
    for name, value in ran.outputs.items():
        assert np.array_equal(outputs.outputs[name].reshape(value.shape), value), name
    for name, cycles in told.items():
        assert np.array_equal(outputs.cycles[name], cycles), name
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("simulator", [needs("compiled"), needs("verilator")])
@pytest.mark.parametrize(
    ("sizes", "state", "widths", "places"),
    [
        ("odd", "int16", Lanes(3, 5, 4, 3, 4), STATES_OFF),
        ("even", "int8 group", Lanes(4, 8, 8, 4, 8), ALL_OFF),
    ],
)
def test_states_come_from_the_memory_and_go_back(sizes, state, widths, places, simulator):
    model = small("w4a4", sizes, state)
    machine, design = design_of(model, widths, places)
    check(model, machine, design, generated(model, 7, 4), simulator)


@pytest.mark.slow
def test_a_slow_memory_of_states_sets_the_pace():
    model = small("w4a4", "odd")
    machine, design = design_of(model, Lanes(3, 5, 4, 3, 4), STATES_OFF)
    slow = tuple(replace(m, efficiency=m.efficiency / 1000) for m in machine.memories)
    inputs = generated(model, 7, 3)
    ran = check(model, replace(machine, memories=slow), design, inputs, "compiled")
    told = predicted(model, machine, design, 3)
    assert ran.cycles["next"][-1, 0] > 2 * told["next"][-1, 0]


@pytest.mark.parametrize("simulator", [needs("pyrtl")])
def test_one_step_of_a_small_model(simulator):
    """Two tokens in PyRTL: the second takes what the first has given."""
    model = small("w4a4", "odd")
    machine, design = design_of(model, Lanes(8, 8, 20, 10, 8), STATES_OFF)
    check(model, machine, design, generated(model, 7, 2), simulator)
