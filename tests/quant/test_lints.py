from dataclasses import dataclass

import numpy as np
import pytest
import torch

from cosim import reference
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.numerics import shift_round
from cosim.ir.op import Op
from cosim.ir.types import TensorType, i, u
from cosim.ops import (
    Contract,
    DecayUpdate,
    Dequantize,
    Embed,
    GroupScale,
    Linear,
    Quantize,
    Requant,
    Reshape,
)
from quant.lints import Lint, lint_model
from quant.quantise import quantise
from quant.recipes import RECIPES
from tests.quant.random_models import random_model, random_tokens

HEADS, STATES = 4, 8


def recurrence(
    k: list[int], decay_bits: int, state_bits: int, drive: int = 0, grouped: bool = False
) -> Model:
    """Return h' = h (1 - k) + drive for four heads; their k is read from row `token` of a table.

    Token 0 has the k given, token 1 twice it. `grouped` keeps the state as int8 with a power of
    two per head. The output is the state.
    """
    b = GraphBuilder("step")
    token = b.input("token", TensorType(u(1), (), 0, 1))
    rows = np.array([k, [min(2 * x, 1 << decay_bits) for x in k]])
    table = b.const("k.table", rows, u(decay_bits + 1))
    flat = b.add("k.row", Embed(), token, table)
    per_head = b.add("k", Reshape((HEADS,), (HEADS, 1)), flat)
    shape = (HEADS, STATES)
    u_ = b.const("u", np.full((1, 1), drive), i(24))
    b_ = b.const("b", np.ones((1, 1), dtype=int), u(1))
    lift = b.const("lift", np.full((1, 1), decay_bits), u(6))
    wide = TensorType.full(i(state_bits), shape)
    update = DecayUpdate(decay_bits, i(state_bits))
    if grouped:
        rule = GroupScale(STATES, 8)
        codes = b.state("h", TensorType.full(i(8), shape))
        scale = b.state("h.scale", rule.infer([wide]))
        h = b.add("h.wide", Dequantize(STATES), codes, scale)
        new = b.add("update", update, h, per_head, u_, b_, lift)
        after = b.add("update.scale", rule, new)
        b.update(codes, b.add("update.q", Quantize(STATES, i(8)), new, after))
        b.update(scale, after)
        b.output("h", b.add("update.wide", Dequantize(STATES), "update.q", "update.scale"))
    else:
        h = b.state("h", wide)
        new = b.add("update", update, h, per_head, u_, b_, lift)
        b.update(h, new)
        b.output("h", new)
    segment = Segment("step", b.build(), {"token": "token"})
    return Model("x", {"token": TensorType(u(1), (), 0, 1)}, (segment,), {"h": "step.h"})


def lints(model: Model, tokens) -> dict[str, Lint]:
    """Return the lints of a model by kind; each kind at most once."""
    found = lint_model(model, torch.tensor([tokens]))
    assert len({x.kind for x in found}) == len(found)
    return {x.kind: x for x in found}


def frozen(model: Model, start: dict[str, np.ndarray], steps: int) -> np.ndarray:
    """Run without input until nothing moves; return the states [heads, states]."""
    tokens = {"token": np.zeros((1, steps), dtype=np.int64)}
    run = reference.run(model, tokens, {f"step/{n}": x[None] for n, x in start.items()})
    h = run.outputs["h"][0]
    assert np.array_equal(h[-1], h[-2])
    return h[-1]


@pytest.mark.parametrize(("state_bits", "decay_bits"), [(16, 14), (16, 12), (12, 10)])
def test_the_deadband_is_where_the_state_really_stops(state_bits, decay_bits):
    k = [3, 5, 12, 100]
    model = recurrence(k, decay_bits, state_bits)
    ceiling = i(state_bits).hi
    start = np.full((HEADS, STATES), ceiling)
    start[:, 1] = -ceiling
    steps = int(12 * 2**decay_bits / 3)
    h = frozen(model, {"h": start}, steps)
    half = 2 ** (decay_bits - 1)
    for head, slow in enumerate(k):
        stops = half / slow  # |h| k < 1/2 LSB; a tie rounds up: positive stays, negative moves
        assert h[head, 0] == int(np.floor(stops))
        assert h[head, 1] == -int(np.ceil(stops) - 1)
    lint = lints(model, [0, 0, 0])["state deadband"]
    assert lint.value * ceiling == pytest.approx(half / k[0])
    assert lint.value * ceiling == pytest.approx(h[0, 0], abs=1)
    share = np.array([half / x / ceiling for x in k])
    assert f"{(share > 1 / 16).sum()} of 4 heads" in lint.sentence
    assert lint.warns == (share.max() > 1 / 16)


def test_the_deadband_of_a_decay_of_exactly_one_is_everything():
    for state_bits in (16, 24):
        lint = lints(recurrence([0, 9999, 9999, 9999], 20, state_bits), [0])["state deadband"]
        assert lint.value == 1.0
        assert lint.warns


def test_slow_decays_of_a_wide_state_do_not_warn():
    found = lints(recurrence([1000, 2000, 4000, 8000], 20, 24), [0, 0])
    assert not found["state deadband"].warns
    assert found["state deadband"].value == pytest.approx(2**19 / 1000 / (2**23 - 1))
    narrow = lints(recurrence([100, 200, 400, 800], 20, 16), [0, 0])["state deadband"]
    assert narrow.warns
    assert narrow.value == pytest.approx(2**19 / 100 / 32767)


@pytest.mark.parametrize("slow", [0.002, 0.004, 0.006])
def test_a_grouped_int8_state_stops_where_its_largest_code_does(slow):
    """Below a decay of 1 - 1/128 per token an int8 group never forgets, at any magnitude."""
    k = [round(slow * 2**20)] * HEADS
    model = recurrence(k, 20, 24, grouped=True)
    codes = np.full((HEADS, STATES), 127)
    exponents = np.array([10, 12, 14, 16])
    h = frozen(model, {"h": codes, "h.scale": exponents[:, None]}, 3000)
    lint = lints(model, [0, 0])["state deadband"]
    expected = min(0.5 / (k[0] / 2**20) / 127, 1.0)
    assert lint.value == pytest.approx(expected)
    assert lint.warns
    assert (h == int(expected * 127) * 2 ** exponents[:, None]).all()


def test_a_grouped_int8_state_of_fast_decay_forgets_and_does_not_warn():
    k = [round(0.01 * 2**20)] * HEADS
    model = recurrence(k, 20, 24, grouped=True)
    start = {"h": np.full((HEADS, STATES), 127), "h.scale": np.full((HEADS, 1), 12)}
    h = frozen(model, start, 4000)
    assert np.abs(h).max() < 256  # of 127 * 2^12: the scale followed it down
    assert not lints(model, [0, 0])["state deadband"].warns


def test_decay_resolution_counts_the_smallest_seen_over_all_tokens():
    k = [100, 30, 16, 500]
    quiet = lints(recurrence(k, 20, 24), [1, 1])["decay resolution"]
    assert (quiet.value, quiet.warns) == (32.0, False)
    assert lints(recurrence(k, 20, 24), [1, 0, 1])["decay resolution"].value == 16.0
    loud = lints(recurrence([100, 30, 15, 0], 20, 24), [0])["decay resolution"]
    assert loud.warns
    assert loud.value == 0.0
    assert "1 of 4 decays rounded to exactly 1" in loud.sentence
    assert lints(recurrence([100, 30, 15, 99], 20, 24), [0])["decay resolution"].warns


@pytest.mark.parametrize("kept", [1, HEADS * STATES * 3, 1 << 25])
def test_a_run_in_pieces_finds_the_same(monkeypatch, kept):
    model = random_model("mamba2")
    tokens = random_tokens(model, 1, 50)
    # Static scales of a few tokens clip on the others.
    integer = quantise("x", model, RECIPES["w4a4-rtn"], tokens[:, :5]).model
    whole = lint_model(integer, tokens)
    monkeypatch.setattr("quant.lints.MOST_KEPT", kept)
    assert lint_model(integer, tokens) == whole
    assert any(x.kind == "saturation" for x in whole)


def test_every_head_has_its_own_values_in_order():
    """Worked out by hand for four heads of one drive, decays of 40, 10, 80 and 20 per 4096."""
    model = recurrence([40, 10, 80, 20], 12, 16, drive=30)
    found = lints(model, [0] * 3000)
    slowest = found["decay resolution"]
    assert slowest.heads == (40.0, 10.0, 80.0, 20.0)
    assert slowest.value == 10.0
    assert "worst heads 1 (10), 3 (20), 0 (40) of 10..80" in slowest.sentence
    assert found["state deadband"].heads == pytest.approx(
        tuple(2**11 / k / 32767 for k in (40, 10, 80, 20))
    )
    assert found["state deadband"].value == max(found["state deadband"].heads)
    # h settles at drive 2^12 / k, short of it by less than half an LSB of h k, or saturates.
    ceiling = found["state ceiling"]
    assert ceiling.heads == pytest.approx(
        tuple(30 * 4096 / k / 32767 for k in (40, 10, 80, 20)), abs=2**12 / 10 / 32767
    )
    assert "worst heads 1 (" in ceiling.sentence


def test_the_ceiling_of_a_head_is_its_own_largest_state_over_all_tokens():
    model = quantise("x", m := random_model("mamba2"), RECIPES["w8a8"], random_tokens(m, 1, 40))
    tokens = random_tokens(m, 2, 30, 3)
    run = reference.run(model.model, {"token": tokens.numpy()}, keep=None)
    found = [x for x in lint_model(model.model, tokens) if x.kind == "state ceiling"]
    graph = model.model.segments[0].graph
    for lint in found:
        update = next(n for n in graph.nodes if f"step/{n.name}" == lint.where)
        h = np.abs(run.values[f"step/{update.inputs[0]}"])
        by_head = h.max(axis=(0, 1)).reshape(-1, *h.shape[-2:]).max(axis=(1, 2))
        assert len(lint.heads) == m.config.num_heads
        assert lint.heads == tuple((by_head / update.op.dtype.hi).tolist())


@pytest.mark.parametrize(("family", "count"), [("mamba", 48), ("mamba2", 4), ("bimamba", 24)])
def test_a_state_has_as_many_values_as_heads_or_channels(family, count):
    model = random_model(family)
    done = quantise("x", model, RECIPES["w4a4"], random_tokens(model, 1, 40))
    of_states = [x for x in done.lints if x.heads]
    assert {x.kind for x in of_states} == {"decay resolution", "state deadband", "state ceiling"}
    for lint in of_states:
        assert len(lint.heads) == count
        worst = min if lint.kind == "decay resolution" else max
        assert lint.value == worst(lint.heads)
        assert ("channel" if count > 4 else "head") in lint.sentence


def test_the_ceiling_warns_when_the_state_is_driven_against_it():
    calm = lints(recurrence([500] * 4, 12, 16, drive=100), [0] * 200)["state ceiling"]
    assert calm.value == pytest.approx(100 * 4096 / 500 / 32767, rel=0.01)
    assert not calm.warns
    model = recurrence([500] * 4, 12, 16, drive=9000)
    found = lints(model, [0] * 20)
    assert found["state ceiling"].warns
    assert found["state ceiling"].value == 1.0
    saturated = found["saturation"]
    run = reference.run(model, {"token": np.zeros((1, 20), dtype=np.int64)})
    count = run.clipped["step/update"]
    assert count > 0
    assert saturated.value == count / (20 * HEADS * STATES)
    assert saturated.warns
    assert "saturation" not in lints(recurrence([500] * 4, 12, 16, drive=100), [0] * 200)


def test_the_ceiling_holds_for_negative_states_too():
    calm = lints(recurrence([500] * 4, 12, 16, drive=-100), [0] * 200)["state ceiling"]
    assert calm.value == pytest.approx(100 * 4096 / 500 / 32767, rel=0.01)
    full = lints(recurrence([500] * 4, 12, 16, drive=-9000), [0] * 20)["state ceiling"]
    assert full.warns


def test_few_saturations_are_told_but_do_not_warn():
    b = GraphBuilder("step")
    token = b.input("token", TensorType(u(12), (), 0, 4095))
    table = np.zeros((4096, 1), dtype=int)
    table[7] = 200
    row = b.add("row", Embed(), token, b.const("table", table, u(8)))
    b.output("y", b.add("y", Requant(i(8)), row, b.const("shift", np.zeros(1, dtype=int), u(1))))
    segment = Segment("step", b.build(), {"token": "token"})
    model = Model("x", {"token": TensorType(u(12), (), 0, 4095)}, (segment,), {"y": "step.y"})
    once = lints(model, list(range(4000)))["saturation"]
    assert (once.value, once.warns) == (1 / 4000, False)
    assert lints(model, [7, 1, 2])["saturation"].warns
    assert "saturation" not in lints(model, [1, 2, 3])


@pytest.mark.parametrize(
    ("width", "columns", "near", "warns"),
    [(16, 256, False, False), (16, 1024, True, False), (24, 4096, True, True)],
)
def test_accumulators_are_told_near_and_past_a_dsp(width, columns, near, warns):
    """Of two sums the wider is always told, the other, as wide but one bit, near the limit."""
    b = GraphBuilder("step")
    token = b.input("token", TensorType(u(1), (), 0, 1))
    lo = -(1 << (width - 1))
    x = b.add("x", Embed(), token, b.const("table", np.full((2, columns), lo), i(width)))
    w = b.const("w", np.full((1, columns), lo // (256 if width == 24 else 1)), i(width))
    m = b.const("m", np.ones((1, 1), dtype=int), u(1))
    b.output("y", b.add("y", Linear(columns), x, w, m))
    half = b.const("half", np.full((1, columns), lo // (512 if width == 24 else 2)), i(width))
    b.output("z", b.add("z", Linear(columns), x, half, m))
    segment = Segment("step", b.build(), {"token": "token"})
    graph = segment.graph
    model = Model("x", {"token": TensorType(u(1), (), 0, 1)}, (segment,), {"y": "step.y"})
    bits = graph.types["y"].dtype.bits
    assert graph.types["z"].dtype.bits == bits - 1
    assert near == (bits > 41)
    tokens = torch.tensor([[0, 1]])
    told = [x for x in lint_model(model, tokens) if x.kind == "accumulator headroom"]
    assert [x.where for x in told] == (["step/y", "step/z"] if near else ["step/y"])
    assert [x.value for x in told] == [bits, bits - 1][: len(told)]
    assert told[0].warns == warns == (bits > 48)
    assert told[0].sentence.endswith("48-bit accumulator; the widest of 2")


@dataclass(frozen=True)
class Sloppy(Op):
    """Stand for an operator that is none of ours."""

    name = "sloppy"

    def infer(self, inputs):
        return inputs[0]

    def meaning(self, *inputs):
        return shift_round(inputs[0], 0)


def test_the_integer_share_counts_known_operators_only(monkeypatch):
    assert lints(recurrence([9] * 4, 8, 16), [0])["integer share"].value == 1.0
    b = GraphBuilder("step")
    token = b.input("token", TensorType(u(1), (), 0, 1))
    row = b.add("row", Embed(), token, b.const("table", np.zeros((2, 1), dtype=int), u(8)))
    b.output("y", b.add("y", Sloppy(), row))
    segment = Segment("step", b.build(), {"token": "token"})
    model = Model("x", {"token": TensorType(u(1), (), 0, 1)}, (segment,), {"y": "step.y"})
    lint = lints(model, [0])["integer share"]
    assert (lint.value, lint.warns) == (0.5, True)


def test_constant_decays_are_linted_too():
    b = GraphBuilder("step")
    token = b.input("token", TensorType(u(1), (), 0, 1))
    row = b.add("x", Embed(), token, b.const("table", np.ones((2, STATES), dtype=int), u(8)))
    h = b.state("h", TensorType.full(i(16), (STATES,)))
    k = b.const("k", np.array([3]), u(8))
    one = b.const("one", np.array([1]), u(1))
    lift = b.const("lift", np.array([8]), u(4))
    b.update(h, b.add("update", DecayUpdate(8, i(16)), h, k, row, one, lift))
    b.output("y", b.add("y", Contract(), "update", row))
    segment = Segment("step", b.build(), {"token": "token"})
    model = Model("x", {"token": TensorType(u(1), (), 0, 1)}, (segment,), {"y": "step.y"})
    assert lints(model, [0])["decay resolution"].value == 3.0


@pytest.mark.parametrize("family", ["mamba", "mamba2", "bimamba"])
def test_a_quantised_model_has_three_lints_per_state(family):
    model = random_model(family)
    done = quantise("x", model, RECIPES["w8a8"], random_tokens(model, 1, 40))
    updates = [
        f"{s.name}/{n.name}"
        for s in done.model.segments
        for n in s.graph.nodes
        if isinstance(n.op, DecayUpdate)
    ]
    assert len(updates) == (4 if family == "bimamba" else 2)
    for kind in ("decay resolution", "state deadband", "state ceiling"):
        assert [x.where for x in done.lints if x.kind == kind] == updates
    assert done.lints[-1].kind == "integer share"


def test_a_head_that_forgets_too_slowly_is_found_in_a_quantised_model():
    model = random_model("mamba2")
    weights = dict(model.weights)
    name = "backbone.layers.1.mixer.A_log"
    weights[name] = weights[name].clone()
    weights[name][2] = -14.0  # a decay of one part in a million per unit of dt
    slow = type(model)(model.config, weights)
    tokens = random_tokens(model, 1, 40)

    def warned(m):
        done = quantise("x", m, RECIPES["w8a8"], tokens)
        return {(x.kind, x.where) for x in done.lints if x.warns}

    added = warned(slow) - warned(model)
    where = "step/layers.1.ssm.update"
    assert {("decay resolution", where), ("state deadband", where)} <= added
