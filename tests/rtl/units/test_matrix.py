"""A matrix unit: the bits of `linear` and the cycles of the model, whatever divides what."""

import random

import pytest

from cosim.design import Choices, Lanes, sized_design
from cosim.design.plan import weights_of
from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.types import IntType, TensorType, i
from cosim.machine import load_machine
from cosim.ops import Linear, Requant
from rtl.units import product
from rtl.units.plan import unit_plans
from rtl.units.unit import unit_block
from rtl.units.weights import streamed
from tests.hw_models import graphs
from tests.rtl.simulators import ALL
from tests.rtl.units.check import check_drawn
from tests.rtl.units.filled import filled
from tests.rtl.units.linears import drawn, linears

VCK190 = load_machine("vck190")
CORNERS = ("random", "lo", "hi", "ends")


def matrix_of(model, rows, columns, chain, place="chip", shallow=32):
    """Return a design, the plan of its matrix unit, the unit's extra streams, and their beats."""
    places = (("weights", place), ("embedding", "chip"), ("states", "chip"))
    choices = Choices(Lanes(rows, columns, 8, chain, 16), places=places, shallow_beats=shallow)
    design = sized_design(model, VCK190, choices)
    plan = unit_plans(model, design)["matrix"]
    if place == "chip":
        return design, plan, {}, {}
    words = streamed(plan)
    name, beats = weights_of(plan.unit), [v for w in words for v in w.integers()]
    return design, plan, {name: max(w.bits for w in words)}, {name: beats}


def run(model, widths, place, seed, hows=CORNERS, simulator="pyrtl", shallow=32):
    design, plan, extra, weights = matrix_of(model, *widths, place, shallow)
    block = unit_block(plan, extra)
    what = (seed, *widths, place)
    check_drawn(model, design, plan, block, hows, seed, simulator, what, extra=weights)


def drawn_widths(rng):
    return (
        rng.choice([1, 2, 3, 4, 5, 8]),
        rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 48]),
        rng.choice([1, 2, 3, 4, 5, 8, 16]),
    )


def run_seed(seed, simulator="pyrtl", hows=CORNERS):
    rng = random.Random(seed)
    model = drawn(seed, rng.choice(["random", "random", "lo", "hi", "ends"]))
    widths, place = drawn_widths(rng), rng.choice(["chip", "memory"])
    run(model, widths, place, seed, hows, simulator, rng.choice([1, 2, 5, 32]))


@pytest.mark.parametrize("seed", range(12))
def test_layers_of_any_sizes_and_groups_are_exact_in_bits_and_cycles(seed):
    run_seed(seed)


@pytest.mark.slow
def test_many_more_layers_are_exact_in_bits_and_cycles():
    for seed in range(100, 200):
        run_seed(seed)


@pytest.mark.parametrize("simulator", ALL[1:])
def test_the_exported_verilog_is_exact_too(simulator):
    for seed in range(4) if simulator == "icarus" else (1, 5):
        run_seed(seed, simulator, ("ends",))


@pytest.mark.parametrize("place", ["chip", "memory"])
@pytest.mark.parametrize(
    "widths", [(5, 3, 4), (7, 12, 8), pytest.param((30, 28, 16), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("bits", [4, 8])
def test_the_projections_of_a_model_share_one_unit(bits, widths, place):
    """The weights of 4-bit models stand beside a head of 8 bits; rows are reordered; 3 layers."""
    run(filled(graphs.small_mamba2(bits=bits)), widths, place, 1, ("ends",))


@pytest.mark.parametrize("how", ["lo", "hi"])
def test_sums_reach_their_ends_without_wrapping(how):
    """All weights at -8 or -128 (7 or 127), all activations and codes at either end."""
    shapes = [(9, 37, 4, 4, 16, 8, 2), (7, 40, 8, 8, 40, 16, 2), (5, 11, 8, 4, 11, 0, 0)]
    run(linears(*shapes, how=how), (4, 8, 8), "chip", 3, ("lo", "hi", "ends"))


def test_a_wrong_block_would_be_seen(monkeypatch):
    """A block that spans two scales gives other bits: the columns' cuts matter."""
    monkeypatch.setattr(product.Product, "cuts", lambda _: set())
    with pytest.raises(AssertionError):
        run(linears((4, 16, 4, 4, 16, 4, 2), seed=1), (4, 8, 8), "chip", 3)


def test_blocks_are_as_large_as_the_groups_allow():
    model = linears((4, 64, 4, 4, 64, 16, 2), (4, 24, 4, 4, 8, 12, 2))
    _, plan, _, _ = matrix_of(model, 4, 32, 8)
    products = [product.Product(plan, job) for job in plan.jobs]
    assert product.block_of(products[:1], 32) == 16
    assert product.block_of(products, 32) == 4
    assert product.block_of(products[:0], 32) == 32


def layered(groups):
    """Return a model of square layers, each requantised to what the next one takes."""
    b = GraphBuilder("step")
    value = b.input("x", TensorType.full(i(8), (8,)))
    for k, group in enumerate((*groups, 8)):
        name = f"layers.{k}." if k < len(groups) else ""
        w = b.const(f"{name}w", TensorType.full(i(8), (8, 8)))
        m = b.const(f"{name}m", TensorType.full(IntType(8, signed=False), (8, -(-8 // group))))
        s = b.const(f"{name}s", TensorType(i(8), (1,), 9, 9))
        acc = b.add(f"{name}acc", Linear(group), value, w, m)
        value = b.add(f"{name}q", Requant(i(8)), acc, s)
    b.output("y", value)
    return filled(graphs.model_of(b))


def test_each_layer_has_its_own_weights_and_multipliers():
    _, plan, _, _ = matrix_of(layered((4, 4, 4)), 3, 5, 4)
    assert plan.turns == 3
    run(layered((4, 4, 4)), (3, 5, 4), "chip", 1, ("ends",))
    run(layered((4, 4, 4)), (3, 5, 4), "memory", 1, ("ends",))


def test_layers_whose_groups_differ_are_refused_with_a_sentence():
    _, plan, extra, _ = matrix_of(layered((4, 4, 2)), 3, 5, 4)
    with pytest.raises(UserError, match=r"node 'layers\.\*\.acc': layers differ in"):
        unit_block(plan, extra)
