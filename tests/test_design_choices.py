"""What is chosen of a design is what it has, and what cannot be chosen is refused."""

from dataclasses import replace

import pytest

from cosim.design import Choices, Lanes, Unit, graph_kinds, sized_design
from cosim.design.resources import memory_blocks
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from tests.hw_models import graphs

VCK190 = load_machine("vck190")
BASE = Choices(Lanes(rows=4, columns=8, state=8, chain=8, prefetch=64))
INNER, STATES, HEADS = 48, 12, 6


def tasks_of(model, *chosen):
    (kind,) = graph_kinds(model, *chosen)
    return {t.name: t for t in kind.skeleton.tasks}


def small(**changes):
    return sized_design(graphs.small_mamba2(), VCK190, replace(BASE, **changes))


def test_rows_stand_as_in_the_graph_where_no_order_is_wanted():
    tasks = tasks_of(graphs.small_mamba2(), "graph")
    assert {t.order for t in tasks.values()} == {((0, t.span),) for t in tasks.values()}


def test_x_and_z_alternate_head_by_head_behind_dt_b_and_c():
    """Rows [z, x, B, C, dt]; six heads of eight rows."""
    tasks = tasks_of(graphs.small_mamba2(heads=HEADS), "heads")
    b_and_c = (2 * INNER, 2 * INNER + 2 * STATES)
    dt = (b_and_c[1], b_and_c[1] + HEADS)
    heads = [(p + 8 * h, p + 8 * h + 8) for h in range(HEADS) for p in (INNER, 0)]
    assert tasks["layers.*.in_proj.acc"].order == (dt, b_and_c, *heads)
    # What takes only x is none the wiser.
    assert tasks["layers.*.conv.fir"].order == ((INNER, INNER + 2 * STATES), (0, INNER))


def test_a_scan_whose_channels_are_no_matrices_has_no_heads_to_alternate():
    model = graphs.small_mamba1()
    assert tasks_of(model, "heads") == tasks_of(model, "waited")


def test_unfused_operators_have_a_unit_each_but_for_the_loop_of_a_state():
    model = graphs.small_mamba2()
    tasks = tasks_of(model, "waited", False)
    shared = {n: t.nodes for n, t in tasks.items() if len(t.nodes) > 1}
    assert shared == {
        "layers.*.conv.fir": ("layers.*.conv.push", "layers.*.conv.fir"),
    }
    group = tasks_of(graphs.mamba2_27b(), "waited", False)
    assert group["layers.*.ssm.update.q"].nodes == (
        "layers.*.ssm.h.wide", "layers.*.ssm.update", "layers.*.ssm.update.scale",
        "layers.*.ssm.update.q",
    )  # fmt: skip
    assert group["layers.*.ssm.read"].unit != group["layers.*.ssm.update.q"].unit


def test_whole_fifos_hold_what_goes_through_them_in_a_turn():
    (held,) = (
        f for f in small(fifos="whole", fused=False).layouts[0].fifos
        if f.value == "layers.*.ssm.update"
    )  # fmt: skip
    assert held.depth * held.beat == 576  # [6, 8, 12], 8 at a time
    depth = {f.name: f.depth for f in small(fifos="whole", shallow_beats=1).layouts[0].fifos}
    assert depth["layers.*.conv_in -> layers.*.conv.fir"] == 9  # 72 channels, 8 at a time
    depth = {f.name: f.depth for f in small(shallow_beats=5).layouts[0].fifos}
    assert depth["layers.*.conv_in -> layers.*.conv.fir"] == 5


def test_tiling_and_fusion_save_the_buffers_of_whole_states():
    """State values [80, 64, 128]: between two units, and the two products of their update."""
    model = graphs.mamba2_27b()
    lanes = Lanes(8, 8, 8, 8, 512)
    apart = sized_design(model, VCK190, Choices(lanes, fused=False, fifos="whole"))
    near = sized_design(model, VCK190, Choices(lanes))
    held = [f for f in apart.layouts[0].fifos if f.beat * f.depth == 80 * 64 * 128]
    assert len(held) >= 2
    blocks = sum(memory_blocks(f.width_bits, f.depth, VCK190)["uram"] for f in held)
    assert apart.resources["uram"] - near.resources["uram"] > blocks > 0


def test_widths_and_depths_that_are_given_stand():
    wide = Unit("state", "state", 24)
    name = "layers.*.conv_in -> layers.*.conv.fir"
    design = small(units=(wide,), depths=((name, 3),))
    assert design.unit("state") == wide
    assert next(f.depth for f in design.layouts[0].fifos if f.name == name) == 3
    assert "1 of given depth" in design.text()


def test_each_projection_may_have_a_matrix_unit_of_its_own():
    design = small(matrix="separate")
    names = [u.name for u in design.units if u.kind == "matrix"]
    assert names == ["matrix.in_proj.acc", "matrix.out_proj.acc", "matrix.lm_head.acc"]
    # Two more arrays of 4 x 8 products, four to a DSP, and the products by their rows' scales.
    more = design.resources["dsp"] - small().resources["dsp"]
    assert more >= 2 * 4 * 8 // 4 + 2 * 4
    assert (more - 2 * 4 * 8 // 4) % 4 == 0  # as many for each row


BAD_CHOICES = [
    (lambda: replace(BASE, order="best"), "order 'best' is unknown; choose one of graph, waited"),
    (lambda: replace(BASE, fifos="deep"), "fifos 'deep' is unknown; choose one of waiting, whole"),
    (lambda: replace(BASE, matrix="two"), "matrix 'two' is unknown; choose one of shared"),
    (lambda: replace(BASE, shallow_beats=0), "shallow_beats 0 must be at least 1"),
    (lambda: replace(BASE, places=(("weights", "chip"),)), "must be given for weights, states"),
    (
        lambda: small(units=(Unit("oven", "vector", 8),)),
        "no unit is called 'oven' of kind 'vector'",
    ),
    (lambda: small(units=(Unit("norm", "vector", 8),)), "the design has source.token (source)"),
    (lambda: small(depths=(("a -> b", 8),)), "no FIFO is called 'a -> b'"),
]


@pytest.mark.parametrize(("make", "sentence"), BAD_CHOICES)
def test_what_cannot_be_chosen_is_refused(make, sentence):
    with pytest.raises(UserError) as caught:
        make()
    assert sentence in str(caught.value)
