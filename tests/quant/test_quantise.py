from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from cosim.ir.errors import InternalError, UserError
from cosim.ir.file import content_hash, load_model, save_model
from cosim.ops import OPS
from cosim.torch_exec import TorchExecutor
from quant.evaluate import int_logits
from quant.family import sequence, with_weights
from quant.formats import ActFormat
from quant.passes.draft import Draft, Pass
from quant.passes.fold_norms import FoldNorms
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateOut
from quant.passes.rotate_residual import RotateResidual
from quant.quantise import quantise, relative_error
from quant.recipes import RECIPES, Recipe
from quant.weights import WeightFormat
from tests.quant.random_models import random_model, random_tokens

FAMILIES = ("mamba", "mamba2", "bimamba")


@dataclass(frozen=True)
class Scale(Pass):
    """Multiply one matrix by a factor, and say that this keeps the function."""

    factor: float

    name: ClassVar[str] = "scale"
    keeps_function: ClassVar[bool] = True

    def apply(self, draft: Draft, calibration: torch.Tensor) -> Draft:
        name = "backbone.layers.1.mixer.in_proj.weight"
        weight = draft.model.weights[name] * self.factor
        return replace(draft, model=with_weights(draft.model, {name: weight}))


@dataclass(frozen=True)
class Forget(Pass):
    """Drop the online half of a rotation whose fused half stays: QuaRot's known trap."""

    name: ClassVar[str] = "forget"
    keeps_function: ClassVar[bool] = True

    def apply(self, draft: Draft, calibration: torch.Tensor) -> Draft:
        return replace(draft, model=with_weights(draft.model, {}, out_hadamard=False))


def run(*passes, family="mamba2", **options):
    model = random_model(family)
    return quantise("x", model, Recipe("test", "", passes), random_tokens(model, 2, 40), **options)


TAIL = (QuantiseWeights(WeightFormat(8)), LowerGraph(ActFormat(8)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("factor", [0.0, 0.98, 1.02, -1.0])
def test_a_pass_that_lies_about_keeping_the_function_raises(family, factor):
    with pytest.raises(InternalError, match="pass scale must keep the function, but moved the log"):
        run(Scale(factor), FoldNorms(), *TAIL, family=family)


def test_float_noise_is_no_lie():
    done = run(Scale(1.0 + 1e-5), FoldNorms(), *TAIL)
    assert 0 < done.steps[0].error < 2e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_forgetting_the_online_half_raises(family):
    with pytest.raises(InternalError, match="pass forget must keep the function"):
        run(FoldNorms(), RotateOut(), Forget(), *TAIL, family=family)


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_report_name_error_and_time_in_order(family):
    done = run(FoldNorms(), RotateResidual(), RotateOut(), *TAIL, family=family)
    names = ["fold_norms", "rotate_residual", "rotate_out", "quantise_weights", "lower"]
    assert [s.name for s in done.steps] == names
    assert [s.keeps_function for s in done.steps] == [True] * 3 + [False] * 2
    assert all(s.error < 1e-4 for s in done.steps[:3])
    assert all(1e-4 < s.error < 0.2 for s in done.steps[3:])
    assert all(s.seconds > 0 for s in done.steps)


def test_the_error_of_a_step_is_measured_against_the_step_before():
    coarse = run(FoldNorms(), QuantiseWeights(WeightFormat(2)), LowerGraph(ActFormat(16)))
    assert coarse.steps[1].error > 0.1
    assert coarse.steps[2].error < 0.05


def test_the_reported_error_of_the_last_step_is_that_of_the_integer_model():
    done = run(FoldNorms(), *TAIL)
    model = random_model("mamba2")
    tokens = random_tokens(model, 2, 40)[:1]
    with torch.no_grad():
        before = sequence(done.draft.model, tokens)
    after = int_logits(TorchExecutor(done.model), tokens)
    assert done.steps[-1].error == pytest.approx(relative_error(before, after), rel=1e-4)


def test_the_error_is_relative_to_what_differs_between_classes():
    """An offset of all logits means nothing to a softmax, but must not hide an error."""
    reference = torch.tensor([[100.0, 102.0]])
    assert relative_error(reference, reference) == 0
    assert relative_error(reference, torch.tensor([[101.0, 102.0]])) == pytest.approx(0.5**0.5)


def test_a_recipe_that_never_lowers_is_our_own_mistake():
    with pytest.raises(InternalError, match="recipe test never lowers the graph"):
        run(FoldNorms(), QuantiseWeights(WeightFormat(8)))


def test_the_order_of_passes_is_the_users_mistake():
    with pytest.raises(UserError, match="fold_norms and quantise_weights come first"):
        run(LowerGraph(ActFormat(8)))


def test_progress_names_every_pass_and_the_lints():
    seen = []
    run(FoldNorms(), *TAIL, progress=lambda *event: seen.append(event))
    assert seen == [
        ("fold_norms", 0, 3), ("quantise_weights", 1, 3), ("lower", 2, 3), ("lints", 3, 3)
    ]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recipe", ["w8a8", "w4a4"])
def test_the_same_input_gives_the_same_graph(family, recipe):
    def once(seed=0):
        model = random_model(family, seed)
        done = quantise("x", model, RECIPES[recipe], random_tokens(model, 2, 40))
        return content_hash(done.model)

    assert once() == once()
    assert once() != once(seed=1)


def test_quantising_leaves_the_float_model_as_it_was():
    model = random_model("mamba2")
    before = {n: w.clone() for n, w in model.weights.items()}
    quantise("x", model, RECIPES["w4a4"], random_tokens(model, 2, 40))
    assert set(before) == set(model.weights)
    assert all(torch.equal(before[n], w) for n, w in model.weights.items())


def test_gradients_of_weights_do_not_get_in_the_way():
    model = random_model("mamba2")
    for weight in model.weights.values():
        weight.requires_grad_(True)
    done = quantise("x", model, RECIPES["w4a8"], random_tokens(model, 2, 40))
    assert done.model.has_weights


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_is_read_back_the_same(family, tmp_path):
    model = random_model(family)
    tokens = random_tokens(model, 2, 40)
    done = quantise("x", model, RECIPES["w4a4"], tokens)
    digest = save_model(done.model, tmp_path / "graph")
    read = load_model(tmp_path / "graph", OPS)
    assert content_hash(read) == digest == content_hash(done.model)
    assert read.text() == done.model.text()
    feed = {"token": tokens.numpy()}
    left, right = (TorchExecutor(m).run(feed).outputs["logits"] for m in (done.model, read))
    assert np.array_equal(left, right)
