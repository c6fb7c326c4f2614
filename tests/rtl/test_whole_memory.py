"""Whole accelerators with weights, states and the embedding off chip, as a seed draws them.

One port of the memory brings the embedding's rows and the weights of every matrix unit in static
order; another reads the states, a third writes them. Each bit and each cycle is compared.
"""

import random
from dataclasses import replace

import pytest

from cosim.design import Lanes
from rtl.elaborate import elaborate
from rtl.memory import memory_of
from tests.rtl import test_whole_states
from tests.rtl.simulators import needs
from tests.rtl.test_whole import generated, layered
from tests.rtl.units.models import small
from tests.rtl.whole import check, design_of, predicted

SEEDS = [*range(8), *(pytest.param(k, marks=pytest.mark.slow) for k in range(8, 40))]
AHEAD = {"depths": (("state.in", 150), ("state.out", 9))}


def places(weights, states, embedding):
    return (("weights", weights), ("states", states), ("embedding", embedding))


def slowed(machine, times):
    """Let every memory give less."""
    memories = tuple(replace(m, efficiency=m.efficiency / times) for m in machine.memories)
    return replace(machine, memories=memories)


def drawn_case(seed):
    """Draw widths, what is off chip, one matrix unit or one for each task, and how slow it is."""
    rng = random.Random(seed)
    widths = Lanes(*(rng.randint(1, 7) for _ in range(4)), rng.choice([1, 2, 5, 16, 300]))
    model = layered(rng.randint(2, 4), rng.choice([6, 12, 15]), rng.choice([19, 33]))
    where = places(rng.choice(["memory", "memory", "chip"]), "chip", "memory")
    if where[0][1] == "memory" and rng.random() < 0.5:
        where = places("memory", "chip", "chip")
    sharing = rng.choice(["separate", "separate", "shared"])
    machine, design = design_of(model, widths, where, matrix=sharing)
    return model, slowed(machine, rng.choice([1, 30, 300, 3000])), design


@pytest.mark.parametrize("simulator", [needs("compiled")])
@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(k, marks=pytest.mark.slow) for k in range(8, 30))]
)
def test_the_memory_serves_its_ports_as_the_model_says(seed, simulator):
    model, machine, design = drawn_case(seed)
    rng, widths = random.Random(seed), design.choices.lanes
    # A pattern holds all rows of a sink in the model, in wires those that move a beat: where its
    # rows are as wide as the beats, all do.
    names = ("sink.logits", "sink.next") if widths.chain >= widths.rows else ("sink.next",)
    stalls = {n: (True, *(rng.random() < 0.7 for _ in range(rng.randint(0, 9)))) for n in names}
    inputs = generated(model, rng.randint(0, 18), 3)
    check(model, machine, design, inputs, simulator, stalls, {"token": "next"})


@pytest.mark.parametrize(
    "simulator", ["pyrtl", needs("icarus"), needs("verilator", pytest.mark.slow)]
)
def test_every_simulator_plays_turns_and_look_ups(simulator):
    model = layered(size=24)
    machine, design = design_of(
        model, Lanes(3, 5, 4, 6, 2), places("memory", "chip", "memory"), matrix="separate"
    )
    made = elaborate(model, design)
    (turns,) = memory_of(made, machine, 2).turns
    # A beat of weights is 3 x 5, of the embedding's row 6; a group brings its scales too.
    assert [name for name, _ in turns.pairs] == ["embedding_ask", "weights_acc", "weights_logits"]
    assert [beats for _, beats in turns.pairs] == [4, 3 * 8 * (5 + 1), 7 * (5 + 1)]
    check(model, machine, design, generated(model, 5, 3), simulator, follows={"token": "next"})


def test_a_port_that_all_share_sets_the_pace():
    """The slow port is busy with one stream after another, weights of 4 bits and rows of 8."""
    model = layered(size=24)
    machine, design = design_of(
        model, Lanes(8, 8, 4, 8, 24), places("memory", "chip", "memory"), matrix="separate"
    )
    slow = slowed(machine, 1000)
    ran = check(model, slow, design, generated(model, 5, 3), follows={"token": "next"})
    assert ran.cycles["next"][-1, 0] > 2 * predicted(model, machine, design, 3)["next"][-1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("simulator", [needs("compiled"), needs("verilator")])
@pytest.mark.parametrize(
    ("sizes", "state", "widths", "options", "times"),
    [
        ("odd", "int16", Lanes(3, 5, 4, 3, 4), {"matrix": "separate"}, 100),
        ("even", "int8 group", Lanes(4, 8, 8, 4, 8), {"matrix": "separate"}, 1),
        ("odd", "int16", Lanes(3, 5, 7, 3, 4), AHEAD, 40),
    ],
)  # fmt: skip
def test_all_of_a_model_lives_off_chip(sizes, state, widths, options, times, simulator):
    """States too, with lanes that do not divide them, and more of them ahead than a layer has."""
    model = small("w4a4", sizes, state)
    machine, design = design_of(model, widths, places("memory", "memory", "memory"), **options)
    inputs = generated(model, 7, 3)
    test_whole_states.check(model, slowed(machine, times), design, inputs, simulator)
