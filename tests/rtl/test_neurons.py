"""Layers of neurons in wires: every bit of the reference, every cycle of the model."""

from itertools import product

import numpy as np
import pytest

from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.ops import Linear
from cosim.reference import run
from quant.lower.neuron import Neuron, add_delays, add_neurons
from quant.netx import read_netx
from tests.quant.test_neuron import ntidigits
from tests.rtl.simulators import needs
from tests.rtl.whole import check, design_of

FORMS = list(product((None, 1024), (">", ">="), ("hard", "soft")))


def network(forms: list[Neuron], size: int) -> Model:
    """Join layers, each with weights and delays of its own."""
    rng = np.random.default_rng(5)
    b = GraphBuilder("step")
    t = TensorType.full(u(1), (size,))
    s = b.input("spikes", t)
    for k, form in enumerate(forms):
        w = b.const(f"w{k}", rng.integers(-100, 120, (size, size)), i(8))
        m = b.const(f"m{k}", np.full((size, 1), 64), u(7))
        x = b.add(f"drive{k}", Linear(size), s, w, m)
        s = add_delays(b, f"axon{k}", add_neurons(b, f"n{k}", x, form), rng.integers(0, 3, size))
    b.output("fired", s)
    segment = Segment("step", b.build(), {"spikes": "spikes"})
    return Model("net", {"spikes": t}, (segment,), {"fired": "step.fired"})


def spikes(steps: int, size: int) -> np.ndarray:
    return np.random.default_rng(6).integers(0, 2, (steps, size))


@pytest.mark.parametrize(("current", "comparator", "reset"), FORMS)
@pytest.mark.parametrize("lanes", [1, 4])
def test_one_layer_has_the_bits_and_cycles(current, comparator, reset, lanes):
    model = network([Neuron(5120, 700, current, 12, comparator, reset)], 6)
    x = spikes(9, 6)
    assert 0 < run(model, {"spikes": x}).outputs["fired"].mean() < 1
    machine, design = design_of(model, lanes)
    check(model, machine, design, {"spikes": x})


def test_two_layers_have_units_of_their_own_under_stalls():
    model = network([Neuron(5120, 700, 1024), Neuron(2000, 900)], 5)
    machine, design = design_of(model, 2)
    assert sum(unit.kind == "state" for unit in design.units) == 2
    assert sum(unit.kind == "fir" for unit in design.units) == 2
    x = spikes(7, 5)
    assert run(model, {"spikes": x}).outputs["fired"].any()
    stalls = {"sink.fired": (0, 1, 1, 0, 0)}
    check(model, machine, design, {"spikes": x}, patterns=stalls)


@pytest.mark.slow
@pytest.mark.parametrize("simulator", [needs("verilator")])
def test_the_trained_ntidigits_network_gives_the_recorded_bits_in_verilog(simulator):
    model = read_netx(ntidigits("ntidigits.net"))
    recorded = np.load(ntidigits("first300.npz"))
    x, want = recorded["input"].T.astype(np.int64), recorded["output"].T
    machine, design = design_of(model, 16)
    ran = check(model, machine, design, {"spikes": x}, simulator)
    assert np.array_equal(ran.outputs["fired"].reshape(want.shape), want)
