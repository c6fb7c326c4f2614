"""Whole designs: every bit of every output, and the cycle of every beat."""

from dataclasses import replace

import numpy as np
import pytest

from cosim.design.choices import Lanes
from cosim.design.sized import sized_design
from cosim.design.workload import Workload
from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.types import TensorType, i, u
from cosim.ops import Add, Argmax, Embed, Linear, Requant
from cosim.reference import run as refer
from rtl.elaborate import elaborate
from tests.hw_models.graphs import model_of
from tests.rtl.simulators import ALL
from tests.rtl.whole import ON_CHIP, check, design_of, predicted

STREAMED = (("weights", "memory"), ("states", "chip"), ("embedding", "chip"))


def projection(rows: int, columns: int, seed: int = 0):
    """Return one linear layer with weights."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("step")
    x = b.input("x", TensorType.full(i(8), (columns,)))
    w = b.const("w", rng.integers(-128, 128, (rows, columns)), i(8))
    m = b.const("m", rng.integers(1, 100, (rows, 1)), i(8))
    b.output("y", b.add("acc", Linear(columns), x, w, m))
    return model_of(b)


@pytest.mark.parametrize("simulator", ALL)
@pytest.mark.parametrize("widths", [Lanes(4, 4, 4, 4, 8), Lanes(3, 5, 4, 7, 2)])
def test_weights_come_when_the_memory_serves_them(widths, simulator):
    """A port of the memory slower than the unit, with few beats ahead."""
    model = projection(21, 33)
    machine, design = design_of(model, widths, STREAMED)
    values = np.random.default_rng(1).integers(-128, 128, (3, 33))
    values[0], values[1] = -128, 127
    check(model, machine, design, {"x": values}, simulator)


def test_a_slow_memory_sets_the_pace():
    """Bursts and pauses: the port is the bottleneck, from one task's weights to the next's."""
    model = layered(size=24)
    machine, design = design_of(model, Lanes(8, 8, 4, 8, 24), STREAMED)
    slow = tuple(replace(m, efficiency=m.efficiency / 1000) for m in machine.memories)
    fast, machine = machine, replace(machine, memories=slow)
    inputs = generated(model, 5, 3)
    ran = check(model, machine, design, inputs)
    told = predicted(model, fast, design, 3)
    assert ran.cycles["next"][-1, 0] > 2 * told["next"][-1, 0]


def layered(layers: int = 3, size: int = 12, vocabulary: int = 19, wide: int = 14):
    """Return a model that generates: layers of a projection beside a residual, then an arg-max."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("step")
    token = b.input("token", TensorType(u(8), (), 0, vocabulary - 1))
    table = b.const("table", rng.integers(-128, 128, (vocabulary, size)), i(8))
    value = b.add("embed", Embed(), token, table)
    shift = b.const("shift", np.array([6]), i(8))
    for k in range(layers):
        at = f"layers.{k}."
        one = b.const(f"{at}one", np.array([k % 2]), i(8))
        q = b.add(f"{at}q", Requant(i(8)), value, one)
        w = b.const(f"{at}w", rng.integers(-8, 8, (size, size)), i(4))
        m = b.const(f"{at}m", rng.integers(1, 16, (size, 1)), i(8))
        acc = b.add(f"{at}acc", Linear(size), q, w, m)
        out = b.add(f"{at}out", Requant(i(12)), acc, shift)
        value = b.add(f"{at}sum", Add(i(wide)), value, out)
    q = b.add("head.q", Requant(i(8)), value, b.const("head.shift", np.array([2]), i(8)))
    w = b.const("head.w", rng.integers(-8, 8, (vocabulary, size)), i(4))
    m = b.const("head.m", rng.integers(1, 16, (vocabulary, 1)), i(8))
    b.output("logits", b.add("logits", Linear(size), q, w, m))
    b.output("next", b.add("next", Argmax(), "logits"))
    return model_of(b)


def generated(model, token: int, count: int):
    """Return the tokens that go in when the model writes `count` tokens after one."""
    tokens, states = [token], None
    for _ in range(count - 1):
        ran = refer(model, {"token": np.array(tokens[-1:])}, states)
        tokens.append(int(ran.outputs["next"][-1]))
        states = ran.states
    return {"token": np.array(tokens)}


@pytest.mark.parametrize("simulator", ALL)
@pytest.mark.parametrize("places", [ON_CHIP, STREAMED])
@pytest.mark.parametrize("widths", [Lanes(4, 4, 4, 4, 8), Lanes(3, 5, 4, 6, 2)])
def test_a_model_of_layers_writes_by_itself(widths, places, simulator):
    """The block is laid out once: carries, constants of each layer, the token fed back."""
    model = layered()
    machine, design = design_of(model, widths, places)
    inputs = generated(model, 5, 6)
    assert len(set(inputs["token"].tolist())) > 2
    check(model, machine, design, inputs, simulator, follows={"token": "next"})


def test_what_has_no_wires_is_a_sentence():
    machine, design = design_of(layered(), 4)
    batch = replace(design.choices, workload=Workload(batch=3))
    said = "made for decode of 3 sequences in tiles of 1; wires are built for one sequence"
    with pytest.raises(UserError, match=said):
        elaborate(layered(), sized_design(layered(), machine, batch))
    with pytest.raises(UserError, match="has 3 layers, tiny has 2, and none of its FIFOs"):
        elaborate(layered(2), design)
    with pytest.raises(
        UserError,
        match=r"sum -> .* is otherwise there",
    ):
        elaborate(layered(wide=16), design)
