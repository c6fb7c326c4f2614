import re
import time

import numpy as np
import pytest

from cosim import reference
from cosim.ir.errors import InternalError, UserError
from cosim.ir.file import content_hash, load_model, save_model
from cosim.ops import OPS, Linear
from cosim.torch_exec import TorchExecutor
from quant.configs import CONFIGS, MAMBA2_SIZES, MAMBA_SIZES, find_config
from quant.formats import ActFormat, SsmFormat
from quant.from_config import lower_config
from quant.passes.fold_norms import FoldNorms
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateState
from quant.quantise import quantise
from quant.recipes import RECIPES, Recipe
from quant.weights import WeightFormat
from tests.quant.random_models import BASES, random_model, random_tokens

ROTATED_STATE = Recipe(
    "rotated state", "",
    (FoldNorms(), RotateState(), QuantiseWeights(WeightFormat(8)),
     LowerGraph(ActFormat(8), SsmFormat(state="int8 group"))),
)  # fmt: skip
TOKENS = {"token": np.zeros((1, 3), dtype=np.int64)}
CASES = [
    ("mamba", {}), ("mamba", {"use_bias": True, "use_conv_bias": False}), ("mamba2", {}),
    ("mamba2", {"use_bias": True, "n_groups": 2, "time_step_limit": (0.02, 0.1)}),
    ("mamba2", {"norm_before_gate": True}), ("bimamba", {}), ("bimamba", {"conv_kernel": 3}),
    ("llama", {}), ("llama", {"sliding_window": 5, "attention_bias": True, "mlp_bias": True}),
]  # fmt: skip


def skeleton(model) -> list[str]:
    """Return the text form without what data decide: bounds, exact widths of sums, constants'
    types, numbers of shared tables, and the points where tables, clips and epsilons lie."""
    lines = []
    for line in model.text().splitlines():
        if line.startswith(("  const table.", "  const layers", "  const final", "  const logits",
                            "  const embed", "  const lm_head", "  const rope")):  # fmt: skip
            line = line.split(":")[0]
        line = re.sub(r" in -?\d+\.\.-?\d+", "", line)
        line = re.sub(r"table\.\d+", "table", line)
        line = re.sub(r"(pwl|rms_norm|clip|pwl_log)\([^)]*\)", r"\1", line)
        if re.search(r"= (linear|fir|contract|hadamard|slice|reshape|group_scale)", line):
            line = re.sub(r": [iu]\d+\[", ": [", line)
        if not line.startswith("  const table"):
            lines.append(line)
    return lines


@pytest.mark.parametrize("recipe", ["w8a8", "w8a8-rtn", "w4a4", "w4a4-rtn"])
@pytest.mark.parametrize(("family", "changes"), CASES)
def test_a_graph_from_a_config_is_that_of_a_model_but_for_its_data(family, changes, recipe):
    model = random_model(family, **changes)
    full = quantise("x", model, RECIPES[recipe], random_tokens(model, 1, 32)).model
    bare = lower_config("x", model.config, RECIPES[recipe])
    assert not bare.has_weights
    left, right = skeleton(full), skeleton(bare)
    assert left == right
    assert len(left) > 100


def test_a_rotated_grouped_state_is_laid_out_too():
    model = random_model("mamba2")
    full = quantise("x", model, ROTATED_STATE, random_tokens(model, 1, 32)).model
    assert skeleton(full) == skeleton(lower_config("x", model.config, ROTATED_STATE))


@pytest.mark.parametrize("name", list(CONFIGS))
@pytest.mark.parametrize("recipe", ["w8a8", "w4a4", "w4a4-rtn"])
def test_every_published_size_lowers_at_once(name, recipe):
    start = time.process_time()
    model = lower_config(name, CONFIGS[name], RECIPES[recipe])
    assert time.process_time() - start < 1.0
    size, layers = {**MAMBA_SIZES, **MAMBA2_SIZES}[name]
    (segment,) = model.segments
    linears = [n for n in segment.graph.nodes if isinstance(n.op, Linear)]
    assert len(linears) == layers * (4 if name.startswith("mamba-") else 2) + 1
    assert segment.graph.types["final_norm"].shape == (size,)


@pytest.mark.parametrize(
    ("name", "weights"),
    # Parameters as published, without norms, convolutions and per-head values (under 1 %).
    [("mamba-130m", 130e6), ("mamba-370m", 370e6), ("mamba-790m", 790e6), ("mamba-1.4b", 1.4e9),
     ("mamba-2.8b", 2.8e9), ("mamba2-130m", 130e6), ("mamba2-370m", 370e6), ("mamba2-780m", 780e6),
     ("mamba2-1.3b", 1.3e9), ("mamba2-2.7b", 2.7e9)],
)  # fmt: skip
def test_published_sizes_have_the_weights_that_their_names_say(name, weights):
    (segment,) = lower_config(name, CONFIGS[name], RECIPES["w8a8"]).segments
    graph = segment.graph
    total = sum(graph.types[n.inputs[1]].size for n in graph.nodes if isinstance(n.op, Linear))
    assert total == pytest.approx(weights, rel=0.05)


@pytest.mark.parametrize("family", list(BASES))
def test_a_weightless_model_is_saved_and_read_but_not_run(family, tmp_path):
    model = lower_config("x", BASES[family], RECIPES["w4a4"])
    digest = save_model(model, tmp_path / "graph")
    read = load_model(tmp_path / "graph", OPS)
    assert read.text() == model.text()
    assert content_hash(read) == digest
    with pytest.raises(UserError, match="model x has no weights: it can be simulated but not run"):
        reference.run(read, TOKENS)


def test_the_fast_executor_refuses_a_weightless_model_with_the_same_sentence():
    model = lower_config("x", BASES["mamba2"], RECIPES["w4a4"])
    with pytest.raises(UserError, match="model x has no weights: it can be simulated but not run"):
        TorchExecutor(model).run(TOKENS)


def test_an_unknown_size_is_one_sentence_that_lists_the_known():
    assert find_config("mamba2-2.7b").num_heads == 80
    with pytest.raises(UserError, match="no published size 'mamba3'; there are mamba-130m, "):
        find_config("mamba3")


def test_a_recipe_without_lowering_is_our_own_mistake():
    with pytest.raises(InternalError, match="recipe half does not quantise weights and lower"):
        lower_config("x", BASES["mamba2"], Recipe("half", "", (FoldNorms(),)))
