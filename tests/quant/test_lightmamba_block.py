"""One block of recipe `lightmamba` against a plain transcription of the released equations."""

from dataclasses import replace

import numpy as np
import pytest

from cosim import reference
from cosim.ir.types import TensorType, i
from cosim.ops.hadamard import hadamard_matrix
from quant.lower import lightmamba
from quant.lower.emit import Emitter, Fx
from quant.lower.lightmamba_ssm import LightFormat
from quant.passes.draft import Draft
from quant.passes.lightmamba import LIGHTMAMBA, source_of
from quant.passes.quantise_weights import QuantiseWeights
from tests.quant import lightmamba_plain as plain
from tests.quant.random_models import random_model, random_tokens

# 20 heads: two groups of 8 and a short one; 160 and 320 columns: two and three groups of weights.
SIZES = {
    "hidden_size": 160, "intermediate_size": 320, "num_heads": 20, "head_dim": 16,
    "state_size": 24, "num_hidden_layers": 1,
}  # fmt: skip
MIXER = "backbone.layers.0.mixer"


def prepared(recipe: str):
    """Return the float model, and the graph of its block alone with the residual as its input."""
    model = random_model("mamba2", 3, **SIZES)
    draft = Draft("x", model)
    tokens = random_tokens(model, 2, 24)
    for step in LIGHTMAMBA[recipe][1][:-1]:
        nearest = isinstance(step, QuantiseWeights)
        draft = (replace(step, rounding="nearest") if nearest else step).apply(draft, tokens)
    em = Emitter("step", True)
    em.builder.input("r", TensorType.full(i(32), (SIZES["hidden_size"],)))
    source = source_of(draft, tokens)
    r = lightmamba._block(em, source, 0, Fx("r", np.asarray(10)), LightFormat())
    em.builder.output("out", r.name)
    return model, draft, em.builder.build()


def plain_weights(model, draft, graph):
    """Quantise the block's constants by the plain quantiser; matrices are checked elsewhere."""

    def real(name):
        return model.weights[f"{MIXER}.{name}"].double().numpy()

    def scaled(x, frac, bits):
        return plain.quant(np.rint(x * 2.0**frac).astype(np.int64), bits)

    taps = real("conv1d.weight")[:, 0, :].T.copy()
    w = {"norm": np.rint(model.weights["backbone.layers.0.norm.weight"].double().numpy() * 256)}
    w["gated_norm"] = np.rint(real("norm.weight") * 256)
    w["conv_w"], w["conv_ws"] = scaled(taps, 10, 8)
    w["conv_b"], w["conv_bs"] = scaled(real("conv1d.bias"), 20, 8)
    w["dt_b"], w["dt_bs"] = scaled(real("dt_bias"), 10, 8)
    w["a"], w["a_s"] = scaled(-np.exp(real("A_log")), 10, 16)
    w["d"], w["d_s"] = scaled(real("D"), 10, 8)
    for short, name in (("in", "in_proj"), ("out", "out_proj")):
        stored = draft.matrices[f"{MIXER}.{name}.weight"]
        w[f"{short}_codes"], w[f"{short}_two"] = stored.codes, stored.multipliers
    if model.config.intermediate_size and any("~h" in n for n in graph.consts):
        w["hadamard"], w["hadamard_shift"] = hadamard_matrix(SIZES["intermediate_size"]), 4
    return w


def compared(v, values):
    """Pair every plain intermediate with the graph's value, in the plain one's shape."""
    heads, per, n = SIZES["num_heads"], SIZES["head_dim"], SIZES["state_size"]

    def states(name):  # [H, N, P] -> [N, H P]
        return np.moveaxis(values[f"layers.0.{name}"], 0, 1).reshape(n, heads * per)

    names = {k: k for k in v} | {"htC": "ssm.y"}
    wide = {"dBx": "dBx", "h": "ssm.update", "h1.q": "ssm.update.q"}
    for name, want in v.items():
        if name in wide:
            yield name, want, states(wide[name])
        elif name == "h1.s":
            each = np.repeat(values["layers.0.ssm.update.shift"], 8, axis=-1)[..., :per]
            yield name, want, np.moveaxis(each, 0, 1).reshape(n, heads * per)
        elif name in (
            "act",
            "act.q",
        ):  # one table look-up there, one for x, B, C and one for z here
            suffix = name.removeprefix("act")
            parts = [values[f"layers.0.{k}{suffix}"] for k in ("act", "gate")]
            yield name, want, np.concatenate(parts)
        elif name != "dAh":  # the release's sum without its addend: part of one operator here
            yield name, want, values[f"layers.0.{names[name]}"].reshape(want.shape)


def residuals(rng):
    """Draw residuals: as trained ones are, huge ones, single ones, the ends of the type."""
    size = SIZES["hidden_size"]
    for scale in (40, 900, 20_000, 3_000_000, 2**29):
        yield np.clip(np.rint(rng.normal(size=size) * scale), -(2**31), 2**31 - 1).astype(np.int64)
    one = np.zeros(size, dtype=np.int64)
    yield one
    yield np.where(np.arange(size) == 7, 2**31 - 1, 0)
    yield np.where(rng.integers(2, size=size) == 1, 2**31 - 1, -(2**31))


def random_states(rng, graph, ends: bool):
    """Draw the states: codes and shifts, at the ends of their types if asked."""
    states = {}
    for name, s in graph.states.items():
        t = s.type
        data = rng.integers(t.lo, t.hi, t.shape, endpoint=True)
        states[name] = np.where(data > (t.lo + t.hi) / 2, t.hi, t.lo) if ends else data
    return states


def plain_state(states):
    heads, per, n = SIZES["num_heads"], SIZES["head_dim"], SIZES["state_size"]
    shift = np.repeat(states["layers.0.ssm.h.shift"], 8, axis=-1)[..., :per]
    return {
        "conv": states["layers.0.conv.window"],
        "conv_s": states["layers.0.conv.window.s"],
        "h": np.moveaxis(states["layers.0.ssm.h"], 0, 1).reshape(n, heads * per),
        "h_s": np.moveaxis(shift, 0, 1).reshape(n, heads * per),
    }


@pytest.mark.parametrize("recipe", ["lightmamba", "lightmamba-hadamard"])
def test_every_intermediate_of_a_block_equals_the_plain_transcription(recipe):
    model, draft, graph = prepared(recipe)
    rng = np.random.default_rng(11)
    w = plain_weights(model, draft, graph)
    w = {k: x if isinstance(x, int) else x.astype(np.int64) for k, x in w.items()}
    sizes = (SIZES["intermediate_size"], SIZES["state_size"], SIZES["num_heads"])
    seen = set()
    for begin in ("zero", "random", "ends"):
        states = {n: np.zeros(s.type.shape, dtype=np.int64) for n, s in graph.states.items()}
        if begin != "zero":
            states = random_states(rng, graph, begin == "ends")
        state = plain_state(states)
        for r in residuals(rng):
            values = reference.step(graph, {"r": r}, states)
            v = plain.block(r, w, state, sizes)
            for name, want, got in compared(v, values):
                assert np.array_equal(got, want), f"{begin} {name}"
                seen.add(name)
            states = {n: values[s.next] for n, s in graph.states.items()}
            carried = plain_state(states)
            assert all(np.array_equal(carried[k], state[k]) for k in state)
    assert len(seen) >= 27


def test_the_constants_are_what_the_plain_quantiser_gives():
    model, draft, graph = prepared("lightmamba")
    w = plain_weights(model, draft, graph)
    t = graph.tensors
    for name, codes, shifts in (
        ("conv.taps", "conv_w", "conv_ws"), ("conv.bias", "conv_b", "conv_bs")
    ):  # fmt: skip
        assert np.array_equal(t[f"layers.0.{name}.q"], w[codes])
        each = np.repeat(t[f"layers.0.{name}.s"], 8, axis=-1)[..., : w[codes].shape[-1]]
        assert np.array_equal(each, w[shifts])
    for name, codes, shifts in (("A", "a", "a_s"), ("D", "d", "d_s")):
        assert np.array_equal(t[f"layers.0.{name}.q"].reshape(-1), w[codes])
        assert np.array_equal(t[f"layers.0.{name}.s"].reshape(-1), w[shifts])
    assert np.array_equal(t["layers.0.dt_bias"], w["dt_b"] << w["dt_bs"])


@pytest.mark.parametrize("name", ["in_proj", "out_proj"])
def test_matrices_have_scales_of_two_shifts_of_three_bits(name):
    model, draft, _ = prepared("lightmamba")
    stored = draft.matrices[f"{MIXER}.{name}.weight"]
    allowed = {2**a + 2**b for a in range(8) for b in range(8)}
    assert set(np.unique(stored.multipliers).tolist()) <= allowed
    assert (stored.exponents == 10).all()
    assert stored.codes.min() >= -8
    assert stored.codes.max() <= 7
    assert stored.multipliers.shape[1] == -(-stored.shape[1] // 128)
    real = model.weights[f"{MIXER}.{name}.weight"].double().numpy()
    error = stored.real().numpy() - real
    # Uniform error of a step of the largest of 128 normal values / 7.
    assert np.sqrt((error**2).mean() / (real**2).mean()) < 2.8 / 7 / 12**0.5
