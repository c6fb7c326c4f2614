"""Vector units give the reference's bits in the model's cycles, at any lanes, depths and gaps."""

import random
from dataclasses import replace

import pytest

from cosim.design import Lanes, sized_design
from cosim.ir.types import TensorType
from cosim.machine import load_machine
from rtl.units.plan import unit_plans
from tests.rtl.simulators import needs
from tests.rtl.units.check import check_unit, draw_design
from tests.rtl.units.models import small
from tests.rtl.units.test_norm import lightmamba

# The chains of LightMamba's released graph that no other graph has.
RELEASED = (
    "vector.norm.in", "vector.in_proj.q", "vector.in_proj", "vector.act.q", "vector.dA.q",
    "vector.dB.q", "vector.gated_norm.in", "vector.residual_out",
)  # fmt: skip
RECIPES = ("w4a4", "w8a8", "w8a8-rtn", "w4a4-rtn")


def check_drawn(seed: int, simulator: str = "pyrtl") -> None:
    rng = random.Random(seed)
    model = small(rng.choice(RECIPES), rng.choice(["even", "odd"]))
    design, name = draw_design(model, rng, ("vector",))
    check_unit(model, design, name, seeds=(seed,), simulator=simulator)


@pytest.mark.parametrize("seed", range(20))
def test_a_drawn_chain_equals_the_reference_and_the_model(seed):
    check_drawn(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 140))
def test_many_drawn_chains_equal_the_reference_and_the_model(seed):
    check_drawn(seed)


@pytest.mark.parametrize("simulator", [needs("icarus"), needs("verilator", pytest.mark.slow)])
@pytest.mark.parametrize("seed", [200, 201])
def test_the_verilog_of_a_chain_does_the_same(seed, simulator):
    check_drawn(seed, simulator)


# Below the group of 16, across it, equal to it, above it; above the value.
@pytest.mark.parametrize("lanes", [1, 3, 8, 16, 24, 64])
def test_a_group_s_scale_waits_for_its_last_element(lanes):
    model = small("w4a4", "odd")
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, 8, lanes, 64))
    for name in ("vector.in_proj.q", "vector.next"):
        assert check_unit(model, design, name, seeds=(1, 2)) == 4


def with_another_guard(model, node):
    """Give one node's table a guard bit more, and twice the entries: it means the same."""
    (segment,) = model.segments
    graph = segment.graph
    types, tensors = dict(graph.types), dict(graph.tensors)
    nodes, added = [], []
    for n in graph.nodes:
        if n.name == node:
            x, *tables = n.inputs
            for table in tables:
                name, like = f"{table}.twice", types[table]
                tensors[name] = tensors[table] * 2
                bits = replace(like.dtype, bits=like.dtype.bits + 1)
                types[name] = TensorType.of(tensors[name], bits)
                added.append(name)
            n = replace(n, op=replace(n.op, guard=n.op.guard + 1), inputs=(x, *added))
        nodes.append(n)
    changed = replace(
        graph, nodes=tuple(nodes), types=types, tensors=tensors, consts=(*graph.consts, *added)
    )
    return replace(model, segments=(replace(segment, graph=changed),))


@pytest.mark.parametrize("lanes", [2, 5])
def test_tables_may_differ_by_layer_in_entries_segments_and_guard_bits(lanes):
    model = with_another_guard(small("w8a8", "even"), "layers.1.k")
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, 8, lanes, 64))
    folded = unit_plans(model, design)["vector.k"].folded
    dt, k = folded.ops("layers.*.dt"), folded.ops("layers.*.k")
    for field in ("start", "log2_width", "guard"):
        assert len({getattr(op, field) for op in dt}) == 2, field
    assert len({op.guard for op in k}) == 2
    assert check_unit(model, design, "vector.k", seeds=range(3)) == 5


@pytest.mark.parametrize(
    ("unit", "lanes"),
    [("vector.dA.q", 8), ("vector.gated_norm.in", 3)]
    + [pytest.param(u, n, marks=pytest.mark.slow) for n in (3, 8, 24) for u in RELEASED],
)
def test_the_chains_of_lightmamba_s_released_graph_are_exact(unit, lanes):
    model = lightmamba()
    design = sized_design(model, load_machine("u280"), Lanes(8, 8, 8, lanes, 64))
    assert check_unit(model, design, unit, seeds=(0, 1)) == 4
