"""A design maps a graph on a machine: folded layers, pipelines, orders, FIFOs, budgets."""

import re
from collections import Counter
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from cosim.design import (
    Choices,
    Fifo,
    Lanes,
    Layout,
    Ports,
    Task,
    Unit,
    default_design,
    sized_design,
)
from cosim.design.arrange import arranged, fifos_of
from cosim.design.graph_kind import folded_segments, graph_kinds
from cosim.design.kinds import KIND_OF_OP, STAGES
from cosim.design.resources import chain_cost, mac_dsps, memory_blocks, products_in_luts
from cosim.design.sketch import fold
from cosim.design.streams import TaskStream
from cosim.design.tasks import skeleton
from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType, i
from cosim.ir.work import Work
from cosim.machine import load_machine
from cosim.ops import OPS, GroupScale, Quantize
from tests.hw_models import graphs

VCK190 = load_machine("vck190")


class Odd(Op):
    """Be an operator that no unit carries."""

    name: ClassVar[str] = "odd"

    def infer(self, inputs):
        return inputs[0]

    def attributes(self):
        return {}

    def work(self, inputs, out):
        return Work(adds={8: out.size})


def tasks_of(model):
    return {t.name: t for t in arranged(skeleton(fold(model.segments[0].graph))).tasks}


def test_every_operator_is_carried_and_has_its_registers():
    assert set(KIND_OF_OP) == set(OPS)
    assert set(STAGES) == {op for op, kind in KIND_OF_OP.items() if kind != "wire"}


def test_an_operator_without_a_unit_is_an_error_and_not_free():
    with pytest.raises(UserError, match=r"node 'odd': no hardware unit carries operator 'odd'"):
        default_design(graphs.with_operator(Odd(), 8), VCK190)


def test_layers_are_laid_out_once():
    graph = graphs.small_mamba2(layers=5).segments[0].graph
    sketch = fold(graph)
    assert sketch.layers == 5
    parts = {
        part: sum(n.part == part for n in sketch.nodes) for part in ("before", "block", "after")
    }
    layer = sum(n.name.startswith("layers.0.") for n in graph.nodes)
    assert parts["block"] == layer
    assert parts["before"] + 5 * layer + parts["after"] == len(graph.nodes)
    (carry,) = sketch.carries.values()
    assert (carry.first, carry.block) == ("embed", "layers.*.residual_out")


def test_two_layers_fold_as_many_do():
    two, five = (fold(graphs.small_mamba2(layers=n).segments[0].graph) for n in (2, 5))
    assert [n.name for n in two.nodes] == [n.name for n in five.nodes]
    assert replace(two, layers=5, types={}) == replace(five, types={})


def test_layers_that_differ_are_not_folded():
    graph = graphs.small_mamba2(layers=2).segments[0].graph
    cut = next(n for n in graph.nodes if n.name == "layers.1.x")
    other = replace(cut, op=Odd())
    nodes = tuple(other if n is cut else n for n in graph.nodes)
    assert fold(replace(graph, nodes=nodes)).layers == 1


def test_segments_of_one_structure_share_a_layout():
    """typeseg has the first projection, and per layer a convolution and two scans."""
    kinds = folded_segments(graphs.typeseg(layers=3))
    assert [names for _, names in kinds] == [
        ("in",), ("conv.0", "conv.1", "conv.2"), ("fwd.0", "fwd.1", "fwd.2"), ("bwd.0", "bwd.1"),
        ("bwd.2",),
    ]  # fmt: skip


def test_a_layout_is_as_wide_as_its_widest_segment():
    """Exact sums are as wide as the data of their layer needs; hardware serves all layers."""
    model = graphs.typeseg(layers=3)
    segment = model.segments[4]
    assert segment.name == "conv.1"
    types = dict(segment.graph.types)
    name = "layers.1.x_proj.acc"
    types[name] = replace(types[name], dtype=IntType(50))
    wide = replace(segment, graph=replace(segment.graph, types=types))
    segments = tuple(wide if s is segment else s for s in model.segments)
    kinds = folded_segments(replace(model, segments=segments))
    assert [len(names) for _, names in kinds] == [1, 3, 3, 2, 1]
    assert kinds[1][0].types["layers.0.x_proj.acc"].dtype.bits == 50


def test_rows_go_out_as_they_are_waited_for():
    """Rows [z, x, B, C, dt]: dt, then B and C, then x feed the recurrence; z only the gate."""
    tasks = tasks_of(graphs.small_mamba2(heads=6))
    inner, n = 48, 12
    z, x = (0, inner), (inner, 2 * inner)
    b_and_c, dt = (2 * inner, 2 * inner + 2 * n), (2 * inner + 2 * n, 2 * inner + 2 * n + 6)
    assert tasks["layers.*.in_proj.acc"].order == (dt, b_and_c, x, z)
    assert tasks["layers.*.conv.fir"].order == ((inner, inner + 2 * n), (0, inner))
    assert tasks["layers.*.out_proj.acc"].order == ((0, 24),)


def test_elementwise_operators_share_a_pipeline_and_no_group_waits_for_itself():
    tasks = tasks_of(graphs.small_mamba2())
    assert tasks["layers.*.conv.fir"].nodes == ("layers.*.conv.push", "layers.*.conv.fir")
    assert tasks["layers.*.ssm.read"].nodes == ("layers.*.ssm.update", "layers.*.ssm.read")
    assert tasks["layers.*.in_proj.q"].nodes == ("layers.*.in_proj.scale", "layers.*.in_proj.q")
    # x feeds the state, and the skip of x is added to what the state gives: two pipelines.
    gated = next(t for t in tasks.values() if "layers.*.gate" in t.nodes)
    assert "layers.*.ssm.y" in gated.nodes
    assert "layers.*.ssm.skip" not in gated.nodes


def test_a_decay_per_channel_and_state_is_computed_in_the_state_unit():
    tasks = tasks_of(graphs.small_mamba1())
    assert tasks["layers.*.ssm.read"].nodes == (
        "layers.*.v", "layers.*.k", "layers.*.ssm.update", "layers.*.ssm.read",
    )  # fmt: skip


def test_results_are_complete_with_the_element_that_completes_them():
    made = arranged(skeleton(fold(graphs.small_mamba2().segments[0].graph)))
    # Groups of 8 of 24: a code, and all that it scales, with the group's last element.
    quantise = TaskStream(made, made.task("layers.*.in_proj.q"))
    assert quantise.made("layers.*.in_proj.scale").tolist() == [7, 15, 23]
    assert quantise.made("layers.*.in_proj.q").tolist() == [7] * 8 + [15] * 8 + [23] * 8
    norm = TaskStream(made, made.task("layers.*.norm"))
    assert norm.made("layers.*.norm").tolist() == [23] * 24
    # State [6, 8, 12]: a row's sum with its twelfth element.
    state = TaskStream(made, made.task("layers.*.ssm.read"))
    assert state.made("layers.*.ssm.read").tolist() == list(range(11, 576, 12))


def test_a_broadcast_operand_is_needed_where_it_is_read():
    made = arranged(skeleton(fold(graphs.small_mamba2().segments[0].graph)))
    state = TaskStream(made, made.task("layers.*.ssm.read"))
    (b,) = state.needs("layers.*.B")
    (drive,) = state.needs("layers.*.ssm.drive")
    assert b.tolist() == list(range(12)) * 48
    assert drive.tolist() == np.repeat(np.arange(48), 12).tolist()


def test_a_taker_of_two_values_holds_each_of_them():
    model = graphs.small_mamba2()
    made = arranged(skeleton(fold(model.segments[0].graph)))
    units = {name: Unit(name, kind, 1) for name, kind in made.kinds.items()}
    fifos = {(f.value, f.taker): f for f in fifos_of(made, units, Choices(Lanes(1, 1, 1, 1, 64)))}
    z = fifos["layers.*.in_proj.acc", next(t for r, t in fifos if t.endswith("gated"))]
    assert z.depth == 48  # of the rows of in_proj only those of z go there
    assert fifos["layers.*.conv_in", "layers.*.conv.fir"].depth == 32


def test_the_text_of_a_design_is_stable():
    lanes = Lanes(rows=2, columns=4, state=1, chain=3, prefetch=64)
    design = sized_design(graphs.projection(), VCK190, lanes)
    # LUT and FF follow from a fit, which tests/test_design_fitted.py looks at.
    text = re.sub(
        r"  (LUT and FF extrapolated: .*\n)|(?<=  lut )\d+|(?<=  ff )\d+", "", design.text()
    )
    assert text == (
        "design of tiny on vck190\n"
        "  unit source.x: source, lanes 3, 1 tasks\n"
        "  unit matrix: matrix, lanes 2 x 4, 1 tasks\n"
        "  unit vector.sum: vector, lanes 3, 1 tasks\n"
        "  unit sink.y: sink, lanes 3, 1 tasks\n"
        "  rows as waited for, operators fused, FIFOs whole where their taker waits\n"
        "  layout step: one block, 1 segments\n"
        "    block source.x on source.x: \n"
        "    block acc on matrix: acc\n"
        "    block sum on vector.sum: one sum\n"
        "    block sink.y on sink.y: \n"
        "    fifo source.x -> acc: x, 32 x 24 bits\n"
        "    fifo acc -> sum: acc, 32 x 38 bits\n"
        "    fifo sum -> sink.y: sum, 32 x 72 bits\n"
        "  weights on chip\n"
        "  states on chip\n"
        "  embedding on chip\n"
        "  constants on chip\n"
        "  windows on chip\n"
        "  sequences on chip\n"
        "  ddr4: 64 of 64 for weights, 2 x 0 for states; 64 beats ahead\n"
        "  lut  of 629888\n"
        "  ff  of 899840\n"
        "  dsp 6 of 1574\n"
        "  bram 0 of 773\n"
        "  uram 0 of 370\n"
        "  binds: unit matrix, 15 cycles a token\n"
    )


@pytest.mark.parametrize("name", ["u280", "vck190"])
def test_the_default_design_keeps_the_budget_and_feeds_the_matrix_unit(name):
    machine = load_machine(name)
    design = default_design(graphs.mamba2_27b(), machine)
    assert all(design.resources[r] <= design.budget[r] for r in design.budget)
    assert design.places["weights"] == "memory"
    assert design.binds.startswith("weights from ")
    matrix = design.unit("matrix")
    asked = 4 * matrix.lanes * matrix.columns
    given = float(machine.bits_per_cycle(machine.fastest_memory))
    assert 0.9 * given < asked < 1.3 * given


def test_a_small_machine_gets_a_smaller_design():
    logic = replace(VCK190.logic, dsps=100, luts=100_000)
    small = replace(VCK190, logic=logic)
    design = default_design(graphs.small_mamba2(), small)
    assert all(design.resources[r] <= design.budget[r] for r in design.budget)
    assert design.resources["dsp"] < default_design(graphs.small_mamba2(), VCK190).resources["dsp"]


def test_a_machine_too_small_for_any_design_says_what_is_short_and_by_how_much():
    tiny = replace(VCK190, logic=replace(VCK190.logic, luts=15_000))
    with pytest.raises(UserError) as caught:
        default_design(graphs.small_mamba2(), tiny)
    sentence = str(caught.value)
    assert sentence.startswith("machine vck190 is too small for small: the smallest design needs ")
    assert "LUT, " in sentence
    assert "more than the 10,500 it may use" in sentence
    memory = replace(VCK190.memories[0], capacity_gb=0.5)
    with pytest.raises(
        UserError, match=r"1\.7 GB of weights, embedding and states do not fit the 0\.5 GB"
    ):
        default_design(graphs.mamba2_27b(), replace(VCK190, memories=(memory,)))


def test_a_state_that_no_one_unit_updates_is_refused():
    with pytest.raises(UserError, match="state 'h' is read by 'read' and written by 'pushed'"):
        default_design(graphs.shared_state(), VCK190)


def test_memories_are_made_of_whole_blocks():
    """URAM is 4096 x 72 bits, BRAM 512 x 72; shallow memories are LUTs, one per 64 bits."""
    assert memory_blocks(72, 512, VCK190) == {"bram": 1}
    assert memory_blocks(73, 512, VCK190) == {"bram": 2}
    assert memory_blocks(72, 4096, VCK190) == {"uram": 1}
    assert memory_blocks(100, 64, VCK190) == {"lut": 100}
    without = replace(VCK190, logic=replace(VCK190.logic, urams=0))
    assert memory_blocks(72, 4096, without) == {"bram": 8}


def test_products_fill_the_dsps_first():
    """Four products of 4 bits, two of 8 in each; what is left is made of LUTs."""
    assert mac_dsps(64, 4, 4, VCK190, 100) == 16
    assert mac_dsps(64, 8, 8, VCK190, 100) == 32
    assert [products_in_luts(64, 8, 8, VCK190, d) for d in (32, 10, 0)] == [0, 44, 64]


BAD_PARTS = [
    (lambda: Unit("u", "matrix", 0), "unit u: lanes 0 must be 1 to 65536"),
    (lambda: Unit("u", "vector", 1, 2), "only a matrix unit has columns"),
    (lambda: Unit("u", "oven", 1), "kind 'oven'; choose one of"),
    (lambda: Task("t", "u", "block", (), 8, ((0, 4),)), "is not one of 8"),
    (lambda: Task("t", "u", "block", (), 8, ((0, 6), (4, 8))), "is not one of 8"),
    (lambda: Fifo("f", "a", "b", "v", 1, 8, 0), "FIFO f: depth 0 must be at least 1"),
    (lambda: Ports("m", 8, 5, 2, 64), "5 + 2 x 2 parts are more than 8"),
    (
        lambda: Layout("l", ("s",), 1, (), (Fifo("f", "a", "b", "v", 1, 8, 1),)),
        "layout l: FIFO 'f' joins 'a', which is no task",
    ),
]


@pytest.mark.parametrize(("make", "sentence"), BAD_PARTS)
def test_what_cannot_be_built_is_refused(make, sentence):
    with pytest.raises(UserError) as caught:
        make()
    assert sentence in str(caught.value)


def test_a_chain_of_other_operators_has_a_unit_of_its_own():
    """Both scans of a layer have a chain that ends in `y`, but not the same operators."""
    units = {}
    for kind in graph_kinds(graphs.typeseg()):
        for task in kind.skeleton.tasks:
            if kind.skeleton.kind(task) == "vector":
                ops = tuple(kind.skeleton.sketch.node(n).op.name for n in task.nodes)
                assert units.setdefault(task.unit, ops) == ops


def test_a_quantiser_keeps_its_group_until_the_scale_is_known():
    def cost(group: int) -> Counter[str]:
        b = GraphBuilder("g")
        b.input("x", TensorType.full(i(24), (2048,)))
        b.add("c", GroupScale(group, 8), "x")
        b.add("q", Quantize(group, i(8)), "x", "c")
        b.output("q", "q")
        made = skeleton(fold(b.build()))
        (task,) = (t for t in made.tasks if "q" in t.nodes)
        return chain_cost(made, task, Unit("vector.q", "vector", 8), VCK190)

    # Two groups of 1024 values of 24 bits: one is filled while the other is quantised.
    assert cost(1024) == memory_blocks(8 * 24, 256, VCK190)
    assert "lut" not in memory_blocks(8 * 24, 256, VCK190)
    assert cost(8) == cost(4) == {}
