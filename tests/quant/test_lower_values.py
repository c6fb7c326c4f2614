from dataclasses import replace

import numpy as np
import pytest
import torch

from cosim.ir.types import IntType
from cosim.ops import Clip
from cosim.torch_exec import TorchExecutor
from quant.family import sequence
from quant.formats import ActFormat, SsmFormat
from quant.lower.emit import frac_for
from quant.quantise import relative_error
from tests.quant.lowering import EIGHT, ROTATIONS, WIDE, error, lowered
from tests.quant.random_models import random_model, random_tokens

# Taps of the float model that have an integer value of the same name and one binary point.
MAMBA_TAPS = {"norm", "z", "dt_rank", "B", "C", "dt_raw", "dt", "v", "y", "gate", "gated",
              "out"}  # fmt: skip
TAPS = {
    "mamba": MAMBA_TAPS - {"y"},
    "mamba2": {
        "norm",
        "z",
        "dt_raw",
        "dt",
        "y",
        "gate",
        "gated",
        "gated_norm",
        "out",
        "B",
        "C",
        "v",
    },  # fmt: skip,
    "bimamba": MAMBA_TAPS,
}


@pytest.mark.parametrize("family", ["mamba", "mamba2", "bimamba"])
@pytest.mark.parametrize("act", [ActFormat(16), ActFormat(16, dynamic=False)], ids=str)
def test_every_named_value_stands_for_the_float_one(family, act):
    model = random_model(family, 5)
    tokens = random_tokens(model, 2, 40)
    draft = lowered(model, (), EIGHT, act, WIDE, tokens)
    run = TorchExecutor(draft.integer).run({"token": tokens.numpy()}, keep=None)
    real: dict[str, torch.Tensor] = {}

    def tap(name, value):
        real.setdefault(name, value.clone())

    with torch.no_grad():
        sequence(draft.model, tokens, tap)
    compared = set()
    for segment in draft.integer.segments:
        for name, scale in segment.graph.scales.items():
            key = f"{segment.name}/{name}"
            if name not in real or name.endswith("state"):
                continue
            got = torch.from_numpy(run.values[key][:, segment.look_ahead :]).double() * scale
            assert relative_error(real[name], got.reshape(real[name].shape)) < 2e-3, key
            compared.add(name)
    missing = {f"layers.{i}.{t}" for i in (0, 1) for t in TAPS[family]} - compared
    assert not missing
    assert {"embed", "final_norm", "logits"} <= compared


@pytest.mark.parametrize("family", ["mamba", "mamba2"])
def test_states_after_the_window_stand_for_the_float_ones(family):
    model = random_model(family, 5)
    tokens = random_tokens(model, 2, 40)
    draft = lowered(model, (), EIGHT, ActFormat(16), WIDE, tokens)
    run = TorchExecutor(draft.integer).run({"token": tokens.numpy()})
    last = {}

    def tap(name, value):
        last[name] = value.clone()

    with torch.no_grad():
        sequence(draft.model, tokens, tap)
    for layer in (0, 1):
        h = run.states[f"step/layers.{layer}.ssm.h"].astype(float)
        real = last[f"layers.{layer}.state"].double().numpy().reshape(h.shape)
        # The binary point differs from head to head: the ratio of each row is one power of two.
        axes = (3, 4) if family == "mamba2" else (2,)
        ratio = (h * real).sum(axes, keepdims=True) / (real * real).sum(axes, keepdims=True)
        assert np.abs(np.log2(ratio) - np.round(np.log2(ratio))).max() < 5e-3
        assert np.abs(h / 2 ** np.round(np.log2(ratio)) - real).max() < 2e-3 * np.abs(real).max()


def test_time_step_limits_become_a_clip_that_does_not_count_as_saturation():
    model = random_model("mamba2", 1, time_step_limit=(0.02, 0.1))
    tokens = random_tokens(model, 2, 40)
    draft = lowered(model, (), EIGHT, ActFormat(16), WIDE, tokens)
    (graph,) = [s.graph for s in draft.integer.segments]
    clips = [n for n in graph.nodes if isinstance(n.op, Clip)]
    assert [n.name for n in clips] == ["layers.0.dt", "layers.1.dt"]
    run = TorchExecutor(draft.integer).run({"token": tokens.numpy()}, keep=None)
    dt = run.values["step/layers.0.dt"] * graph.scales["layers.0.dt"]
    assert dt.min() == pytest.approx(0.02, abs=1e-6)
    assert dt.max() == pytest.approx(0.1, abs=1e-6)
    assert "step/layers.0.dt" not in run.clipped


def test_a_bias_larger_than_the_value_it_makes_does_not_clip_it():
    """B of 8 bits is x_proj's product, which is large, plus a bias that takes it back."""
    model = random_model("bimamba", 1)
    name = "backbone.layers.0.mixer.in_proj"
    weights = dict(model.weights)
    weights["backbone.layers.0.norm.bias"] = torch.full((24,), 3.0)
    drift = weights[f"{name}.weight"] @ weights["backbone.layers.0.norm.bias"]
    weights[f"{name}.bias"] = -drift + 0.1 * weights[f"{name}.bias"]
    model = replace(model, weights=weights)
    tokens = random_tokens(model, 2, 40)
    ssm = SsmFormat()
    draft = lowered(model, (), EIGHT, ActFormat(16), ssm, tokens)
    run = TorchExecutor(draft.integer).run({"token": tokens.numpy()}, keep=None)
    assert sum(c for n, c in run.clipped.items() if "layers.0.conv_in" in n) <= 24 * 2
    assert error(draft, draft.model, tokens) < 0.05


@pytest.mark.parametrize("family", ["mamba", "mamba2", "bimamba"])
def test_all_zero_and_tiny_matrices_lower_and_run(family):
    model = random_model(family, 1)
    weights = dict(model.weights)
    weights["backbone.layers.0.mixer.out_proj.weight"] = torch.zeros_like(
        weights["backbone.layers.0.mixer.out_proj.weight"]
    )
    tiny = weights["backbone.layers.1.mixer.in_proj.weight"].clone()
    tiny[3] = 0
    tiny[5] = 1e-30
    weights["backbone.layers.1.mixer.in_proj.weight"] = tiny
    taps = weights["backbone.layers.0.mixer.conv1d.weight"].clone()
    taps[2], taps[7] = 0.0, 1e-9
    weights["backbone.layers.0.mixer.conv1d.weight"] = taps
    model = replace(model, weights=weights)
    tokens = random_tokens(model, 1, 20)
    for act in (ActFormat(16), ActFormat(8, dynamic=False)):
        draft = lowered(model, ROTATIONS, EIGHT, act, WIDE, tokens)
        assert error(draft, draft.model, tokens) < (1e-2 if act.dynamic else 0.2)


@pytest.mark.parametrize("ssm", [SsmFormat(), WIDE], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-6, 1e-3])
def test_the_bias_of_a_channel_with_tiny_taps_is_not_saturated(ssm, size):
    model = random_model("mamba2", 1)
    name = "backbone.layers.0.mixer.conv1d"
    taps, bias = (model.weights[f"{name}.{leaf}"].clone() for leaf in ("weight", "bias"))
    taps[:4], bias[:4] = size, torch.tensor([2.0, -1.0, 0.01, 0.0])
    model = replace(model, weights={**model.weights, f"{name}.weight": taps, f"{name}.bias": bias})
    tokens = random_tokens(model, 1, 20)
    draft = lowered(model, (), EIGHT, ActFormat(16), ssm, tokens)
    run = TorchExecutor(draft.integer).run({"token": tokens.numpy()}, keep=None)
    scale = draft.integer.segments[0].graph.scales["layers.0.conv.out"]
    got = run.values["step/layers.0.conv.out"][0, :, :4] * scale
    assert np.abs(got - bias[:4].numpy()).max() < 30 * size + scale


def test_frac_for_fills_the_type_and_stays_within_its_limits():
    dtype = IntType(8, True)
    rng = np.random.default_rng(0)
    top = 10.0 ** rng.uniform(-6, 6, 1000)
    frac = frac_for(top, dtype, 1.0).astype(float)
    assert (top * 2**frac <= 127).all()
    assert (top * 2 ** (frac + 1) > 127).all()
    assert frac_for(np.array([0.0, 1.0]), dtype, 1.0).tolist() == [36, 6]
    assert frac_for(np.array([0.0]), dtype, 1.0).tolist() == [6]  # nothing but zeros: as 1
    assert frac_for(np.array([1e-30, 1e30]), dtype, 4.0).tolist() == [36, -40]
