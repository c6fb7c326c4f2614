"""Sources, sinks and the embedding's memory: a model that only looks rows up, whole."""

from dataclasses import replace

import numpy as np
import pyrtl
import pytest

from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.types import TensorType, i, u
from cosim.ops import Embed
from rtl.elaborate import elaborate, one_block
from rtl.netlist import building
from rtl.streams import taken
from rtl.units.unit import build_unit
from rtl.whole import outside
from tests.hw_models.graphs import model_of
from tests.rtl.simulators import ALL
from tests.rtl.whole import check, design_of


def looking_up(vocabulary: int, size: int, bits: int = 5):
    """Return a model whose output is the row of a token."""
    b = GraphBuilder("step")
    token = b.input("token", TensorType(u(8), (), 0, vocabulary - 1))
    low = -(1 << bits - 1)
    table = np.random.default_rng(vocabulary).integers(low, -low, (vocabulary, size))
    table[0], table[-1] = low, -low - 1
    b.output("row", b.add("embed", Embed(), token, b.const("table", table, i(bits))))
    return model_of(b)


TOKENS = np.array([0, 18, 3, 3, 17])


@pytest.mark.parametrize("lanes", [1, 4, 5, 22, 40])
@pytest.mark.parametrize("stalls", [(True,), (True, False, False), (False, True, True, False)])
def test_rows_come_out_when_the_model_says(lanes, stalls):
    """Lanes that divide 22 elements and lanes that do not; a sink that takes its time."""
    model = looking_up(19, 22)
    machine, design = design_of(model, lanes)
    check(model, machine, design, {"token": TOKENS}, patterns={"sink.row": stalls})


@pytest.mark.parametrize("simulator", ALL)
def test_every_simulator_gives_the_same(simulator):
    model = looking_up(19, 10, 8)
    machine, design = design_of(model, 4)
    ran = check(model, machine, design, {"token": TOKENS}, simulator)
    # Source, FIFO, look-up in two, FIFO: the first of three beats; then the word goes back.
    assert ran.cycles["row"].tolist() == [[3 + k, 4 + k, 5 + k] for k in range(0, 30, 6)]


def test_a_token_of_several_values_is_passed_on_in_beats():
    b = GraphBuilder("step")
    x = b.input("x", TensorType.full(i(6), (3, 5)))
    b.output("y", x)
    model = model_of(b)
    machine, design = design_of(model, 4)
    values = np.random.default_rng(0).integers(-32, 32, (3, 3, 5))
    check(model, machine, design, {"x": values})


OFF_CHIP = (("weights", "chip"), ("states", "chip"), ("embedding", "memory"))


@pytest.mark.parametrize("lanes", [1, 4, 5, 22, 40])
@pytest.mark.parametrize("stalls", [(True,), (True, False, False), (False, True, True, False)])
@pytest.mark.parametrize("slower", [1, 1000])
def test_rows_are_fetched_from_off_chip(lanes, stalls, slower):
    """By address, in the memory's own pattern: a fast one, and one that is the bottleneck."""
    model = looking_up(19, 22)
    machine, design = design_of(model, lanes, OFF_CHIP)
    memories = tuple(replace(m, efficiency=m.efficiency / slower) for m in machine.memories)
    machine = replace(machine, memories=memories)
    check(model, machine, design, {"token": TOKENS}, patterns={"sink.row": stalls})


@pytest.mark.parametrize("simulator", ALL)
def test_every_simulator_fetches_the_same(simulator):
    model = looking_up(19, 10, 8)
    machine, design = design_of(model, 4, OFF_CHIP)
    ran = check(model, machine, design, {"token": TOKENS}, simulator)
    latency = machine.latency_cycles(machine.memories[0])
    # Source, FIFO, the memory's latency: the first of three beats.
    assert ran.cycles["row"][0].tolist() == [latency + 1 + k for k in range(3)]


def test_an_embedding_off_chip_needs_a_stream_of_rows_and_a_memory_that_takes_its_time():
    model = looking_up(19, 22)
    machine, design = design_of(model, 4, OFF_CHIP)
    made = elaborate(model, design)
    plan = next(p for p in made.plans.values() if p.kind == "memory")
    (token,) = plan.into
    with pytest.raises(UserError, match="off chip, but no stream brings rows"), building():
        build_unit(plan, {token.name: taken("token", 8)}, {})
    quick = tuple(replace(m, latency_ns=0.001) for m in machine.memories)
    with pytest.raises(UserError, match=r"answers in 1 cycles .* an embedding off chip needs 2"):
        outside(made, {"token": TOKENS}, machine=replace(machine, memories=quick))


def test_inputs_that_are_not_the_graphs_are_refused():
    model = looking_up(19, 22)
    made = elaborate(model, design_of(model, 4)[1])
    with pytest.raises(UserError, match=r"the design takes \['token'\], given are \['x'\]"):
        outside(made, {"x": TOKENS})
    with pytest.raises(UserError, match="'token' has 5 of 7 tokens"):
        outside(made, {"token": TOKENS}, 7)


def test_an_output_is_offered_whether_or_not_it_is_taken():
    """A sink's `valid` does not wait for `ready`, as AXI demands; nor does the beat change."""
    model = looking_up(19, 10, 8)
    block = one_block(model, design_of(model, 4)[1])
    simulation = pyrtl.FastSimulation(tracer=None, block=block)
    seen = []
    for _ in range(12):
        simulation.step({"token_data": 3, "token_valid": 1, "row_ready": 0})
        seen.append((simulation.inspect("row_valid"), simulation.inspect("row_data")))
    assert [valid for valid, _ in seen] == [0] * 3 + [1] * 9
    assert len({beat for valid, beat in seen if valid}) == 1
