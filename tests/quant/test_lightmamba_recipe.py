"""The recipes `lightmamba*`: whole models, from weights and from a config alone."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from cosim import reference
from cosim.design.choices import Choices, Lanes
from cosim.design.sized import sized_design
from cosim.ir.errors import UserError
from cosim.machine import load_machine
from cosim.ops import DecayUpdate, Hadamard, Linear, RmsTable, ShiftDecay
from cosim.torch_exec import TorchExecutor
from quant.configs import CONFIGS
from quant.evaluate import divergence, int_logits
from quant.family import sequence
from quant.from_config import lower_config
from quant.passes.lightmamba import LIGHTMAMBA
from quant.passes.quantise_weights import QuantiseWeights
from quant.quantise import quantise
from quant.recipes import RECIPES, Recipe
from tests.quant.random_models import random_model, random_tokens
from tests.quant.test_from_config import skeleton

NAMES = ["lightmamba", *(f"lightmamba-{k}" for k in ("hadamard", "decay", "state", "mended"))]
# Residuals of rms 1 or more: ten fraction bits, without a scale, are made for such.
SIZES = {"num_heads": 3, "head_dim": 16, "state_size": 16}


def nearest(name: str) -> Recipe:
    """Return a recipe that rounds its weights to nearest: faster, and all else is the same."""
    passes = tuple(
        replace(p, rounding="nearest") if isinstance(p, QuantiseWeights) else p
        for p in RECIPES[name].passes
    )
    return replace(RECIPES[name], passes=passes)


@pytest.fixture(scope="module")
def quantised():
    model = random_model("mamba2", 6, **SIZES)
    tokens = random_tokens(model, 4, 64)
    return model, tokens, {n: quantise("x", model, nearest(n), tokens) for n in NAMES}


def test_the_recipes_are_listed():
    assert [n for n in RECIPES if n.startswith("lightmamba")] == NAMES == list(LIGHTMAMBA)


@pytest.mark.parametrize("name", NAMES)
def test_the_executors_agree_on_every_value(quantised, name):
    _, tokens, done = quantised
    feed = {"token": tokens[:2, :9].numpy()}
    model = done[name].model
    want = reference.run(model, feed, keep=None)
    for use_numba in (False, True):
        got = TorchExecutor(model, use_numba=use_numba).run(feed, keep=None)
        assert all(np.array_equal(want.values[k], got.values[k]) for k in want.values)
        assert got.clipped == want.clipped


@pytest.mark.parametrize("name", NAMES)
def test_what_is_mended_and_what_rotates(quantised, name):
    nodes = [n.op for n in quantised[2][name].model.segments[0].graph.nodes]
    types = quantised[2][name].model.segments[0].graph.types
    fine = name in ("lightmamba-decay", "lightmamba-mended")
    wide = name in ("lightmamba-state", "lightmamba-mended")
    turned = name in ("lightmamba-hadamard", "lightmamba-mended")
    count = {kind: sum(isinstance(op, kind) for op in nodes) for kind in (
        Hadamard, DecayUpdate, ShiftDecay, RmsTable, Linear
    )}  # fmt: skip
    assert count == {
        Hadamard: 2 * turned, DecayUpdate: 2 * fine, ShiftDecay: 2 * (not fine), RmsTable: 4,
        Linear: 5,
    }  # fmt: skip
    assert types["layers.0.ssm.h"].dtype.bits == (16 if wide else 8)


@pytest.mark.parametrize("name", NAMES)
def test_it_stays_near_the_float_model(quantised, name):
    model, tokens, done = quantised
    with torch.no_grad():
        real = sequence(model, tokens)
    kl = float(divergence(real, int_logits(TorchExecutor(done[name].model), tokens))[1].mean())
    # Half of what the baseline of the same widths has (w4a4-rtn: 1.30; w4a4: 0.32).
    assert kl < 0.65


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_from_a_config_is_that_of_a_model_but_for_its_data(quantised, name):
    model, _, done = quantised
    bare = lower_config("x", model.config, RECIPES[name])
    assert not bare.has_weights

    def lines(graph):
        kept = [x for x in skeleton(graph) if not x.startswith("  const")]
        exact = re.compile(r"= (shift_fir|group_read|dequantize)")
        return [re.sub(r": i\d+\[", ": [", x) if exact.search(x) else x for x in kept]

    assert lines(done[name].model) == lines(bare)
    assert len(lines(bare)) > 100


@pytest.mark.parametrize("family", ["mamba", "bimamba"])
def test_other_families_are_refused_in_one_sentence(family):
    model = random_model(family)
    said = "lightmamba: the released graph is of Mamba-2; quantise this model with w4a4"
    with pytest.raises(UserError, match=said):
        lower_config("x", model.config, RECIPES["lightmamba"])
    with pytest.raises(UserError, match=said):
        quantise("x", model, nearest("lightmamba"), random_tokens(model, 1, 16))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_groups": 2, "num_heads": 4, "head_dim": 12},
        {"use_bias": True},
        {"norm_before_gate": True},
        {"time_step_limit": (0.02, 0.1)},
    ],
)
def test_another_mamba2_is_refused_in_one_sentence(changes):
    config = random_model("mamba2", **changes).config
    with pytest.raises(UserError, match="lightmamba: the released graph has one group of B and C"):
        lower_config("x", config, RECIPES["lightmamba"])


def test_sizes_that_groups_do_not_divide_are_refused_in_one_sentence():
    config = random_model("mamba2", state_size=12).config
    with pytest.raises(UserError, match="state size 12 must be multiples of 8"):
        lower_config("x", config, RECIPES["lightmamba"])


def test_the_published_model_is_laid_out_as_the_released_machine():
    """All of the state's operators in one pipeline, 80 * 128 * 64 / 8 cycles a layer."""
    model = lower_config("mamba2-2.7b", CONFIGS["mamba2-2.7b"], RECIPES["lightmamba"])
    design = sized_design(model, load_machine("vck190"), Choices(Lanes(8, 8, 8, 8, 64)))
    (state,) = (t for t in design.layouts[0].tasks if t.unit == "state")
    assert state.span // design.unit("state").lanes == 81_920
    assert [n.removeprefix("layers.*.") for n in state.nodes] == [
        "dBx", "ssm.update", "ssm.update.shift", "ssm.update.q", "ssm.read",
    ]  # fmt: skip
    matrix = [t for t in design.layouts[0].tasks if t.unit == "matrix"][:2]
    unit = design.unit("matrix")
    assert unit.lanes * unit.columns == 64
    sizes = {t.nodes[0]: t.span for t in matrix}
    assert sizes["layers.*.in_proj.acc"] * 2560 // 64 == 423_040
    assert sizes["layers.*.out_proj.acc"] * 5120 // 64 == 204_800
