"""Options behind a recipe's name: each changes what it says; the graph keeps one meaning."""

import pytest

from cosim.compare import first_difference
from cosim.ir.errors import UserError
from cosim.reference import run
from cosim.torch_exec import TorchExecutor
from quant.from_config import lower_config
from quant.options import OPTIONS
from quant.passes.quantise_weights import QuantiseWeights
from quant.quantise import quantise
from quant.recipes import RECIPES, find_recipe
from tests.quant.random_models import random_model, random_tokens


def weights_of(name):
    return next(p for p in find_recipe(name).passes if isinstance(p, QuantiseWeights))


def test_each_option_changes_what_it_names():
    assert [weights_of(f"w4a4+{r}").rounding for r in ("nearest", "gptq", "qronos")] == [
        "nearest", "gptq", "qronos",
    ]  # fmt: skip
    scaled = weights_of("w4a8+two-term")
    assert {scaled.default.scale, *(f.scale for _, f in scaled.kinds)} == {"two_term"}
    assert (scaled.default.bits, scaled.default.group) == (4, 128)
    config = random_model("mamba2").config
    for option, bits in (("state8", 8), ("state16", 16), ("state24", 24)):
        (segment,) = lower_config("x", config, find_recipe(f"w8a8+{option}")).segments
        kept = [
            s.type.dtype.bits
            for n, s in segment.graph.states.items()
            if "ssm" in n or n.endswith("h")
        ]
        assert bits in kept, (option, segment.graph.states)
    assert RECIPES["w4a4"] is find_recipe("w4a4")


def test_caches_and_queries_have_the_widths_that_are_asked_for():
    config = random_model("llama", max_position_embeddings=3000).config

    def widths(options):
        (segment,) = lower_config("x", config, find_recipe(f"w8a8{options}")).segments
        graph = segment.graph
        kept = {n: s.type for n, s in graph.states.items() if n.startswith("layers.1.")}
        q = graph.types["layers.1.q_turned"].dtype.bits
        keys, values = kept["layers.1.keys"], kept["layers.1.values"]
        return keys.shape[0], q, keys.dtype.bits, values.dtype.bits

    assert widths("") == (3000, 8, 8, 8)
    assert widths("+cache4") == (3000, 8, 4, 4)
    assert widths("+cache6+query12") == (3000, 12, 6, 6)
    assert widths("+keys4+context256") == (256, 8, 4, 8)
    assert widths("+values4+context4096") == (3000, 8, 8, 4)


def test_the_rotation_of_b_and_c_is_in_the_graph():
    def rotations(name):
        config = random_model("mamba2").config
        (segment,) = lower_config("x", config, find_recipe(name)).segments
        return sum(n.op.name == "hadamard" for n in segment.graph.nodes)

    layers = random_model("mamba2").config.num_hidden_layers
    assert rotations("w4a4+rotate-bc") == rotations("w4a4") + 2 * layers


@pytest.mark.parametrize(
    "name", ["w4a4+rotate-bc+qronos+pot+state8", "w8a8-rtn+rotate-bc+two-term+state24"]
)
def test_options_together_give_the_same_bits_twice(name):
    model, tokens = random_model("mamba2"), random_tokens(random_model("mamba2"), 2, 24)
    integer = quantise("x", model, find_recipe(name), tokens).model
    slow = run(integer, {"token": tokens.numpy()}, keep=None)
    fast = TorchExecutor(integer).run({"token": tokens.numpy()}, keep=None)
    assert first_difference(integer, slow.values, fast.values) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("w4a4+", "no option ''; there are rotate-bc, nearest"),
        ("w4a4+qrnos", "no option 'qrnos'; there are"),
        ("w4a4+gptq+qronos", "'gptq' and 'qronos' both choose the rounding"),
        ("w4a4+pot+pot", "'pot' and 'pot' both choose the scales"),
        ("lightmamba+state24", "options change our own recipes only"),
        ("w5a5+pot", "no recipe 'w5a5'; there are w8a8"),
    ],
)
def test_wrong_options_are_a_sentence(name, said):
    with pytest.raises(UserError, match=said.replace("+", r"\\+")):
        find_recipe(name)


def test_every_option_is_listed_with_what_it_chooses():
    assert {what for _, _, what in OPTIONS.values()} == {
        "rotation", "rounding", "scales", "states", "activation scales", "spikes", "caches",
        "queries", "context",
    }  # fmt: skip
