"""A Hadamard unit: the bits of `hadamard` and the cycles of the model, whatever the lanes."""

import random

import pytest

from cosim.design import Choices, Lanes, Unit, sized_design
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from cosim.ops import Hadamard
from rtl.units import rotation
from rtl.units.passing import Passing
from rtl.units.plan import unit_plans
from rtl.units.rotation import Shape
from rtl.units.unit import unit_block
from tests.hw_models import graphs
from tests.rtl.simulators import ALL
from tests.rtl.units.check import check_drawn
from tests.rtl.units.filled import filled
from tests.rtl.units.singles import singles

VCK190 = load_machine("vck190")
CORNERS = ("random", "lo", "hi", "ends")


def design_of(model, lanes, chain, shallow=32):
    """Return a design whose Hadamard unit is fed by makers of `chain` lanes."""
    unit = Unit("hadamard", "hadamard", lanes)
    choices = Choices(Lanes(2, 2, 8, chain, 16), units=(unit,), shallow_beats=shallow)
    return sized_design(model, VCK190, choices)


def hadamard_of(*args):
    """Return the plan of the Hadamard unit of such a design."""
    return unit_plans(args[0], design_of(*args))["hadamard"]


def run(model, lanes, chain, seed, hows=CORNERS, simulator="pyrtl", shallow=32):
    design = design_of(model, lanes, chain, shallow)
    plan = hadamard_of(model, lanes, chain, shallow)
    block = unit_block(plan)
    check_drawn(model, design, plan, block, hows, seed, simulator, (seed, lanes, chain))
    return {Shape.of(Passing(plan, job)).is_gathered for job in plan.jobs}


def rotations(*sizes, bits=8):
    """Return a model of rotations side by side: (order, blocks)."""
    return singles(*((Hadamard(n), (n * blocks,), f"i{bits}") for n, blocks in sizes))


STREAMS = [
    # Only butterflies: between rows, inside them, both, with several blocks.
    ((16, 1), 1), ((16, 3), 2), ((64, 1), 8), ((32, 2), 4), ((8, 2), 8), ((4, 1), 8), ((8, 4), 16),
    # A base whose numbers take several rows each, one row, or share rows.
    ((48, 1), 2), ((96, 2), 4), ((48, 1), 4), ((48, 3), 8), ((96, 1), 16), ((12, 2), 4),
    ((80, 1), 4), ((160, 2), 2), ((56, 1), 2), ((112, 1), 8), ((20, 2), 2), ((40, 1), 8),
    ((24, 2), 24), ((12, 2), 24), ((1, 5), 2), ((2, 3), 1),
]  # fmt: skip


@pytest.mark.parametrize(("size", "lanes"), STREAMS)
def test_blocks_stream_through_exactly(size, lanes):
    assert run(rotations(size), lanes, lanes, 1) == {False}


@pytest.mark.parametrize(
    ("size", "lanes", "chain"),
    [((48, 1), 5, 5), ((48, 1), 32, 32), ((12, 1), 8, 4), ((48, 2), 6, 6), ((32, 2), 8, 4)],
)
def test_what_is_no_stream_is_gathered_and_as_exact(size, lanes, chain):
    """Lanes that divide no block, or blocks that come in half as fast as they leave."""
    assert run(rotations(size), lanes, chain, 1) == {True}


def test_tasks_of_other_orders_share_the_lanes():
    run(rotations((48, 2), (16, 3), (48, 2), (40, 1)), 8, 8, 1)


def test_tasks_of_one_order_share_the_adders():
    model = singles((Hadamard(48), (48,), "i4"), (Hadamard(48), (96,), "i16"))
    run(model, 8, 8, 1)


@pytest.mark.parametrize("lanes", [4, 8, 16, 32])
def test_the_rotation_of_a_model_is_exact_in_all_layers(lanes):
    run(filled(graphs.small_mamba2()), lanes, lanes, 1)


def run_seed(seed, simulator="pyrtl", hows=CORNERS):
    rng = random.Random(seed)
    lanes = rng.choice([1, 2, 4, 8, 16])
    sizes = []
    while not sizes:
        for _ in range(rng.choice([1, 1, 2])):
            order = rng.choice([1, 2, 4, 8, 16, 32, 64, 12, 24, 48, 96, 20, 40, 80, 28, 56])
            blocks = rng.choice([1, 1, 2, 3])
            if order % lanes == 0 or lanes % order == 0 or blocks == 1:
                sizes.append((order, blocks))
    chain = rng.choice([lanes, lanes, 2 * lanes, 64, 3])
    model = rotations(*sizes, bits=rng.choice([4, 8, 16]))
    run(model, lanes, chain, seed, hows, simulator, rng.choice([1, 2, 5, 32]))


@pytest.mark.slow
def test_many_more_rotations_are_exact_in_bits_and_cycles():
    for seed in range(100, 180):
        run_seed(seed)


@pytest.mark.parametrize("simulator", ALL[1:])
def test_the_exported_verilog_is_exact_too(simulator):
    for seed in range(4) if simulator == "icarus" else (3, 8):
        run_seed(seed, simulator, ("ends",))


@pytest.mark.parametrize("what", ["_line", "_signs", "_banks"])
def test_the_checks_see_a_broken_rotation(monkeypatch, what):
    """A delay that moves in every cycle, a wrong sign, a bank that is written over."""
    broken = {
        "_line": lambda old, s, word, moves, delay, at: old(s, word, moves | ~moves, delay, at),
        "_signs": lambda old, s, rows, group: old(s, abs(rows) - 2 * (rows[::-1] < 0), group),
        "_banks": lambda old, s, v, at: [row[::-1] for row in old(s, v, at)],
    }[what]
    old = getattr(rotation.Rotation, what)
    monkeypatch.setattr(rotation.Rotation, what, lambda s, *a: broken(old, s, *a))
    with pytest.raises(AssertionError):
        run(rotations((96, 2)), 4, 4, 1)


def test_blocks_that_begin_inside_a_row_are_refused_with_a_sentence():
    with pytest.raises(UserError, match=r"blocks of 12 begin in the middle of rows of 8 lanes"):
        unit_block(hadamard_of(rotations((12, 2)), 8, 8))
