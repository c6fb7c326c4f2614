"""Llamas as integer graphs: the same function as in float, the same bits in every executor."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from cosim.ir.errors import UserError
from cosim.ir.types import IntType
from cosim.ops import Attend, CacheWrite, Divide, Hadamard, Linear, Rope
from cosim.torch_exec import TorchExecutor
from quant.evaluate import int_logits
from quant.family import sequence
from quant.formats import ActFormat, AttentionFormat
from quant.passes.draft import Draft
from quant.passes.fold_norms import FoldNorms
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateHeads
from quant.quantise import quantise, relative_error
from quant.recipes import RECIPES
from tests.quant.lowering import EIGHT, ROTATIONS, WIDE, error
from tests.quant.random_models import random_model, random_tokens
from tests.quant.test_lower import assert_all_executors_agree

MODELS = {
    "three queries a key": {},
    "one key head": {"num_key_value_heads": 1},
    "a key head per query": {"num_key_value_heads": 6},
    "one head of 4": {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4},
    "untied, biases": {
        "tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True,
    },
    "window 7": {"sliding_window": 7},
    "window 1": {"sliding_window": 1},
    "window past the context": {"sliding_window": 400},
    "theta, epsilon": {"rope_theta": 33.0, "rms_norm_eps": 0.3},
    "40 wide": {"hidden_size": 40, "intermediate_size": 56, "head_dim": 12},
}  # fmt: skip
ORDERS = {"down_in": 40, "q_turned": 8, "k_turned": 8}
EXACT = AttentionFormat(16, 16, 16, tile=5)
HEADS = (*ROTATIONS, RotateHeads())


def lowered(model, passes, act, attention, tokens) -> Draft:
    draft = Draft("x", model)
    last = LowerGraph(act, WIDE, attention=attention)
    for step in (FoldNorms(), *passes, QuantiseWeights(EIGHT), last):
        draft = step.apply(draft, tokens)
    return draft


# Half of them rotated, so that both kinds see grouped, single and windowed heads.
@pytest.mark.parametrize(
    ("case", "passes"), [(c, (HEADS, ())[k % 2]) for k, c in enumerate(MODELS)]
)
def test_every_switch_lowers_to_the_same_function(case, passes):
    model = random_model("llama", 1, **MODELS[case])
    tokens = random_tokens(model, 2, 40)
    draft = lowered(model, passes, ActFormat(16), EXACT, tokens)
    assert error(draft, draft.model, tokens) < 3e-3  # what lowering itself adds
    assert error(draft, model, tokens) < 2e-2  # with weights of 8 bits
    run = assert_all_executors_agree(draft.integer, tokens)
    (graph,) = [s.graph for s in draft.integer.segments]
    kinds = Counter(type(n.op) for n in graph.nodes)
    assert (kinds[Attend], kinds[Divide], kinds[CacheWrite], kinds[Rope]) == (2, 2, 4, 4)
    assert kinds[Linear] == 2 * 4 + 1
    assert kinds[Hadamard] == (6 if passes else 0)
    assert all(isinstance(t.dtype, IntType) for t in graph.types.values())
    assert np.array_equal(run.outputs["next"], run.outputs["logits"].argmax(-1))
    places = min(model.config.sliding_window or 64, 64)
    caches = [s.type.shape[0] for n, s in graph.states.items() if n != "position"]
    assert caches == [places] * 4
    narrow = lowered(model, passes, ActFormat(8), AttentionFormat(), tokens)
    assert 2e-3 < error(narrow, model, tokens) < 0.1


# Taps of the float model that have an integer value of the same name and one binary point.
TAPS = {"norm", "q", "k", "attended", "out", "mlp_norm", "gate", "up", "silu", "gated", "down"}


@pytest.mark.parametrize("act", [ActFormat(16), ActFormat(16, dynamic=False)], ids=str)
@pytest.mark.parametrize("passes", [(), HEADS], ids=["plain", "rotated"])
def test_every_named_value_stands_for_the_float_one(act, passes):
    model = random_model("llama", 5)
    tokens = random_tokens(model, 2, 40)
    draft = lowered(model, passes, act, EXACT, tokens)
    run = TorchExecutor(draft.integer).run({"token": tokens.numpy()}, keep=None)
    real: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        sequence(draft.model, tokens, lambda name, x: real.update({name: x.clone()}))
    (segment,) = draft.integer.segments
    compared = set()
    for name, scale in segment.graph.scales.items():
        if name in real:
            got = torch.from_numpy(run.values[f"step/{name}"]).double() * scale
            if passes:  # the graph leaves 1 / sqrt(n) of its rotations to what follows
                got = got / ORDERS.get(name.rsplit(".", 1)[-1], 1) ** 0.5
            assert relative_error(real[name], got.reshape(real[name].shape)) < 3e-3, name
            compared.add(name)
    assert not {f"layers.{i}.{t}" for i in (0, 1) for t in TAPS} - compared
    assert {"embed", "final_norm", "logits"} <= compared


def test_the_error_falls_as_the_cache_widens():
    model = random_model("llama", 4)
    tokens = random_tokens(model, 4, 60)
    errors = []
    for bits in (3, 4, 6, 8, 12):
        fmt = AttentionFormat(bits, bits, bits)
        draft = lowered(model, HEADS, ActFormat(16), fmt, tokens)
        errors.append(error(draft, draft.model, tokens))
    assert all(a > 1.3 * b for a, b in pairwise(errors)), errors


@pytest.mark.parametrize("name", ["w8a8", "w4a8", "w4a4", "w8a8-rtn", "w4a4-rtn"])
def test_recipes_run_alike_everywhere_and_keep_the_function(name):
    model = random_model("llama", 3)
    tokens = random_tokens(model, 4, 60)
    done = quantise("x", model, RECIPES[name], tokens)
    assert_all_executors_agree(done.model, tokens[:2, :40])
    with torch.no_grad():
        real = sequence(model, tokens)
    found = relative_error(real, int_logits(TorchExecutor(done.model), tokens))
    assert found < {"w8a8": 0.02, "w8a8-rtn": 0.05, "w4a8": 0.1}.get(name, 0.5)


def test_rotated_recipes_beat_their_baselines():
    model = random_model("llama", 3)
    tokens = random_tokens(model, 4, 60)
    with torch.no_grad():
        real = sequence(model, tokens)

    def of(name):
        graph = quantise("x", model, RECIPES[name], tokens).model
        return relative_error(real, int_logits(TorchExecutor(graph), tokens))

    assert all(of(n) < 0.7 * of(f"{n}-rtn") for n in ("w8a8", "w4a8", "w4a4"))


def test_a_window_goes_on_past_its_cache_and_a_context_does_not():
    windowed = random_model("llama", 2, sliding_window=5)
    tokens = random_tokens(windowed, 1, 64)
    graph = quantise("x", windowed, RECIPES["w8a8"], tokens).model
    whole = int_logits(TorchExecutor(graph), tokens)
    with torch.no_grad():
        assert relative_error(sequence(windowed, tokens), whole) < 0.05
    full = random_model("llama", 2)
    last = LowerGraph(ActFormat(8), attention=AttentionFormat(context=20))
    draft = Draft("x", full)
    for step in (FoldNorms(), QuantiseWeights(EIGHT), last):
        draft = step.apply(draft, tokens)
    with pytest.raises(UserError, match=r"0 tokens came before and 21 are to follow, .* after 20"):
        int_logits(TorchExecutor(draft.integer), tokens[:, :21])
    assert int_logits(TorchExecutor(draft.integer), tokens[:, :20]).shape == (1, 20, 53)


def test_heads_are_rotated_once_and_only_before_the_weights_are_integers():
    model = random_model("llama", 2)
    tokens = random_tokens(model, 1, 20)
    draft = RotateHeads().apply(Draft("x", model), tokens)
    with torch.no_grad():
        assert relative_error(sequence(model, tokens), sequence(draft.model, tokens)) < 1e-5
    with pytest.raises(UserError, match="rotate_heads: queries and keys are already rotated"):
        RotateHeads().apply(draft, tokens)
    ready = QuantiseWeights(EIGHT).apply(FoldNorms().apply(Draft("x", model), tokens), tokens)
    with pytest.raises(UserError, match="rotate_heads: the matrices are quantised already"):
        RotateHeads().apply(ready, tokens)
    odd = random_model("llama", 2, head_dim=6)
    with pytest.raises(UserError, match="no Hadamard matrix of order 6"):
        RotateHeads().apply(Draft("x", odd), tokens)
    other = Draft("x", random_model("mamba2"))
    assert RotateHeads().apply(other, tokens) is other


def test_values_rotated_without_their_inverse_change_the_function():
    """The pass's own check would notice: what o_proj takes back is not what v_proj puts in."""
    model = random_model("llama", 2)
    tokens = random_tokens(model, 1, 20)
    turned = RotateHeads().apply(Draft("x", model), tokens).model
    weights = dict(turned.weights)
    name = "model.layers.1.self_attn.o_proj.weight"
    weights[name] = model.weights[name]
    with torch.no_grad():
        broken = sequence(replace(turned, weights=weights), tokens)
        assert relative_error(sequence(model, tokens), broken) > 0.05
