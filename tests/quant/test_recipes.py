import numpy as np
import pytest
import torch

from cosim.ir.errors import UserError
from cosim.ops import Hadamard, Linear, Quantize, Rescale
from cosim.torch_exec import TorchExecutor
from quant.evaluate import divergence, int_logits
from quant.family import sequence
from quant.formats import ActFormat
from quant.passes.fold_norms import FoldNorms
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateOut
from quant.passes.rotate_residual import RotateResidual
from quant.quantise import Quantised, quantise
from quant.recipes import RECIPES, find_recipe
from tests.quant.random_models import random_model, random_tokens

FAMILIES = ("mamba", "mamba2", "bimamba")
NAMES = ("w8a8", "w8a6", "w4a8", "w4a4")
# Every family; LightMamba's graph is of Mamba-2 alone and tested apart.
GENERAL = [n for n in RECIPES if not n.startswith("lightmamba")]


def test_every_recipe_has_its_baseline():
    assert set(GENERAL) == {*NAMES, *(f"{n}-rtn" for n in NAMES)}
    assert all(RECIPES[n].name == n for n in RECIPES)
    assert len({r.about for r in RECIPES.values()}) == len(RECIPES)


@pytest.mark.parametrize("name", GENERAL)
def test_a_recipe_is_a_list_of_passes_that_can_be_seen(name):
    kinds = [type(p) for p in RECIPES[name].passes]
    assert kinds[0] is FoldNorms
    assert kinds[-1] is LowerGraph
    rotates = {RotateResidual, RotateOut} & set(kinds)
    assert rotates == (set() if name.endswith("rtn") else {RotateResidual, RotateOut})


@pytest.mark.parametrize("name", [f"{n}-rtn" for n in NAMES])
def test_baselines_round_to_nearest_on_absolute_maximum_scales(name):
    *_, weights, lower = RECIPES[name].passes
    assert isinstance(weights, QuantiseWeights)
    assert weights.rounding == "nearest"
    assert all(not f.search_clip for f in (weights.default, *(f for _, f in weights.kinds)))
    assert isinstance(lower, LowerGraph)
    assert not any(a.dynamic for a in (lower.act, *(a for _, a in lower.kinds)))


@pytest.fixture(scope="module")
def models():
    """Return a model of each family with its calibration tokens."""
    found = {}
    for family in FAMILIES:
        model = random_model(family, 6)
        found[family] = (model, random_tokens(model, 4, 64))
    return found


@pytest.fixture(scope="module")
def quantised(models):
    """Return a function that quantises once per family and recipe."""
    done: dict[tuple[str, str], Quantised] = {}

    def get(family: str, name: str) -> Quantised:
        if (family, name) not in done:
            model, tokens = models[family]
            done[family, name] = quantise(name, model, RECIPES[name], tokens)
        return done[family, name]

    return get


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", GENERAL)
def test_codes_have_the_widths_that_the_name_says(quantised, family, name):
    weight_bits, act_bits = int(name[1]), int(name[3])
    blocks = 0
    for segment in quantised(family, name).model.segments:
        types = segment.graph.types
        widths = {
            n.name: n.op.dtype.bits
            for n in segment.graph.nodes
            if isinstance(n.op, Quantize | Rescale) and n.name.endswith(".q")
        }
        for node in segment.graph.nodes:
            if isinstance(node.op, Linear) and ("in_proj" in node.name or "out_proj" in node.name):
                assert types[node.inputs[1]].dtype.bits == weight_bits
                assert widths[node.inputs[0]] == act_bits
                blocks += 1
    assert blocks == 4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", GENERAL)
def test_only_rotated_recipes_rotate(quantised, family, name):
    model = quantised(family, name).model
    nodes = [n for s in model.segments for n in s.graph.nodes if isinstance(n.op, Hadamard)]
    assert len(nodes) == (0 if name.endswith("rtn") else 2)
    consts = [n for s in model.segments for n in s.graph.consts]
    assert any("~r24s0" in n for n in consts) != name.endswith("rtn")


@pytest.fixture(scope="module")
def kl(models, quantised):
    """Return a function that gives the mean divergence from the float model."""

    def get(family: str, name: str) -> float:
        model, tokens = models[family]
        with torch.no_grad():
            real = sequence(model, tokens)
        logits = int_logits(TorchExecutor(quantised(family, name).model), tokens)
        return float(divergence(real, logits)[1].mean())

    return get


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_each_recipe_beats_its_baseline(kl, family, name):
    assert kl(family, name) < 0.8 * kl(family, f"{name}-rtn")


@pytest.mark.parametrize("family", FAMILIES)
def test_fewer_bits_cost_accuracy_in_order(kl, family):
    found = {name: kl(family, name) for name in NAMES}
    assert found["w8a8"] < found["w8a6"] < found["w4a4"]
    assert found["w8a8"] < found["w4a8"] < found["w4a4"]
    assert found["w8a8"] < 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_the_next_token_is_the_largest_logit(models, quantised, family):
    _, tokens = models[family]
    run = TorchExecutor(quantised(family, "w4a4").model).run({"token": tokens.numpy()})
    assert np.array_equal(run.outputs["next"], run.outputs["logits"].argmax(-1))


def test_an_unknown_recipe_is_one_sentence_that_lists_the_known():
    assert find_recipe("w4a8").name == "w4a8"
    with pytest.raises(UserError, match="no recipe 'w3a3'; there are w8a8, w8a8-rtn, w8a6"):
        find_recipe("w3a3")


@pytest.mark.parametrize("bits", [1, 17])
def test_activation_widths_that_no_unit_multiplies_are_one_sentence(bits):
    with pytest.raises(UserError, match=f"activations of {bits} bits: choose 2 to 16"):
        ActFormat(bits)


@pytest.mark.parametrize(
    ("family", "recipe", "groups"),
    [
        ("mamba2", "w8a8", {0}),
        ("mamba2", "w4a4", {128, 0}),
        ("mamba", "w8a6", {16}),
        ("bimamba", "w4a8", {16}),
        ("bimamba", "w4a8-rtn", {0}),
    ],
)
def test_groups_are_small_only_where_states_are_per_channel(quantised, family, recipe, groups):
    found = {w.format.group for w in quantised(family, recipe).draft.matrices.values()}
    assert found == groups
