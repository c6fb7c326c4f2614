"""RWKV as integer graphs: the same function as in float, the same bits in every executor."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cosim.ops import OPS, DecayUpdate, Hadamard, Wkv
from cosim.torch_exec import TorchExecutor
from quant.evaluate import int_logits
from quant.family import sequence
from quant.formats import ActFormat
from quant.from_config import lower_config
from quant.passes.rotate_online import RotateOut
from quant.quantise import quantise, relative_error
from quant.recipes import RECIPES
from tests.quant.lowering import EIGHT, ROTATIONS, WIDE, error, lowered
from tests.quant.random_models import BASES, random_model, random_tokens
from tests.quant.test_lower import assert_all_executors_agree
from tests.rwkv_files import read_rwkv_file

FAMILIES = ("rwkv4", "rwkv5")
TAPS = {
    "rwkv4": {"key_in", "key", "value_in", "receptance", "gate", "gated", "out", "middle"},
    "rwkv5": {"key", "value", "receptance", "read", "bonus", "y", "silu", "gated", "out"},
}
SHARED = {"ffn.key_in", "ffn.key", "ffn.squared", "ffn.value", "ffn.out"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("act", [ActFormat(16), ActFormat(16, dynamic=False)], ids=str)
def test_every_named_value_stands_for_the_float_one(family, act):
    model = random_model(family, 5)
    tokens = random_tokens(model, 2, 40)
    draft = lowered(model, (), EIGHT, act, WIDE, tokens)
    run = TorchExecutor(draft.integer).run({"token": tokens.numpy()}, keep=None)
    # A static scale maps the largest calibrated input to the end of the codes, give or take one.
    assert not [n for n, count in run.clipped.items() if count and not n.endswith(".q")]
    real, compared = {}, set()
    with torch.no_grad():
        sequence(draft.model, tokens, lambda n, x: real.setdefault(n, x.clone()) is None or None)
    (segment,) = draft.integer.segments
    for name, scale in segment.graph.scales.items():
        if name in real and not name.endswith("state"):
            got = torch.from_numpy(run.values[f"step/{name}"]).double() * scale
            assert relative_error(real[name], got.reshape(real[name].shape)) < 4e-3, name
            compared.add(name)
    wanted = {f"layers.{i}.{t}" for i in (0, 1) for t in TAPS[family] | SHARED}
    assert not wanted - compared
    assert error(draft, draft.model, tokens) < 2e-3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recipe", ["w8a8", "w4a8", "w4a4", "w8a8-rtn", "w4a4-rtn"])
def test_every_recipe_has_the_same_bits_in_every_executor(family, recipe):
    model = random_model(family, 3)
    tokens = random_tokens(model, 2, 27)
    found = quantise("x", model, RECIPES[recipe], tokens)
    assert_all_executors_agree(found.model, tokens)
    assert {step.name for step in found.steps if step.keeps_function} >= {"fold_norms"}
    graph = found.model.segments[0].graph
    turned = [n.op.order for n in graph.nodes if isinstance(n.op, Hadamard)]
    inner = model.config.attention_hidden_size, model.config.intermediate_size
    assert turned == ([] if recipe.endswith("rtn") else [*inner, *inner])


@pytest.mark.parametrize("state", ["int8 group", "int16", "int24"])
def test_states_of_every_format_stand_for_the_float_one(state):
    model = random_model("rwkv5", 5)
    tokens = random_tokens(model, 2, 40)
    draft = lowered(model, ROTATIONS, EIGHT, ActFormat(16), replace(WIDE, state=state), tokens)
    assert error(draft, draft.model, tokens) < (0.05 if state == "int8 group" else 2e-3)
    assert_all_executors_agree(draft.integer, tokens)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_token_sees_nothing_before_it(family):
    """The windows begin where the norm's weight and bias make 0, though biases are large."""
    model = random_model(family, 8)
    biases = {n: 3 * w + 1 for n, w in model.weights.items() if ".ln" in n and n.endswith("bias")}
    gains = {n: 2 + w.abs() for n, w in model.weights.items() if ".ln1.w" in n or ".ln2.w" in n}
    model = replace(model, weights={**model.weights, **biases, **gains})
    tokens = random_tokens(model, 3, 12)
    draft = lowered(model, (), EIGHT, ActFormat(16), WIDE, tokens)
    got = int_logits(TorchExecutor(draft.integer), tokens)
    with torch.no_grad():
        want = sequence(draft.model, tokens)
    assert relative_error(want[:, 0], got[:, 0]) < 3e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_alone_gives_the_graph_that_weights_give(family):
    model = random_model(family, 1)
    with_weights = quantise("x", model, RECIPES["w4a4"], random_tokens(model, 1, 16)).model
    bare = lower_config("x", BASES[family], RECIPES["w4a4"])
    nodes = [[(n.name, n.op.name, n.inputs) for n in m.segments[0].graph.nodes]
             for m in (with_weights, bare)]  # fmt: skip
    assert nodes[0] == nodes[1]
    assert {"rwkv4": Wkv, "rwkv5": DecayUpdate}[family] in {OPS[op] for _, op, _ in nodes[1]}


def test_the_residual_keeps_its_basis_and_two_inputs_are_turned():
    model = random_model("rwkv5", 2)
    draft = lowered(model, (RotateOut(),), EIGHT, ActFormat(16), WIDE, random_tokens(model, 1, 16))
    names = [n for n in draft.integer.segments[0].graph.consts if "~" in n]
    assert {n.split("~")[1].split(".")[0] for n in names} == {"h24", "h40"}
    assert not draft.basis


@pytest.mark.slow  # 12 layers
def test_the_published_model_keeps_its_function():
    model = read_rwkv_file("5v2-730K")
    rng = np.random.default_rng(0)
    text = torch.from_numpy(rng.choice(np.frombuffer(b"etaoin shrdlu the and of ", "u1"), (4, 64)))
    tokens = text.long()
    found = quantise("x", model, RECIPES["w8a8"], tokens)
    got = int_logits(TorchExecutor(found.model), tokens)
    with torch.no_grad():
        assert relative_error(sequence(model, tokens), got) < 0.05
