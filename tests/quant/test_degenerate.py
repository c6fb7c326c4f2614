"""Weights of no trained model: zeros become graphs, what no integers hold is said by name."""

from dataclasses import replace
from math import isfinite

import pytest
import torch

from cosim.ir.errors import UserError
from quant.calibrate import Ranges, explain
from quant.quantise import quantise, relative_error
from quant.recipes import RECIPES
from tests.quant.random_models import random_model, random_tokens

FAMILIES = ("mamba", "mamba2", "bimamba")


def changed(family, part, factor):
    """Multiply the weights whose names hold `part`."""
    model = random_model(family)
    weights = {n: w * factor if part in n else w for n, w in model.weights.items()}
    return replace(model, weights=weights)


@pytest.mark.parametrize("part", ["layers.0.mixer.in_proj", "embeddings", "norm", "conv1d", ""])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_zeros_become_a_graph(family, part):
    model = changed(family, part, 0.0)
    done = quantise("x", model, RECIPES["w8a8"], random_tokens(model, 2, 40))
    assert all(isfinite(step.error) for step in done.steps)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_that_no_integers_hold_are_named(family):
    model = changed(family, "embeddings", 1e-12)
    tokens = random_tokens(model, 2, 40)
    with pytest.raises(UserError, match=r"^embed reaches .*e-1[12] on the calibration text"):
        quantise("x", model, RECIPES["w8a8"], tokens)


def test_the_first_odd_value_is_named_and_the_others_counted():
    usual = Ranges({"a": torch.tensor([0.5, 9.0]).numpy()})
    assert explain(usual, "s") == "s"
    odd = Ranges({**usual.absmax, "b": torch.zeros(2).numpy(), "c": torch.tensor([2e6]).numpy()})
    assert explain(odd, "s").startswith(
        "b is 0 everywhere on the calibration text (and 1 more values are as odd), where values of "
        "trained models reach 1e-06 to 1e+06: no integers fit (s); "
    )


def test_the_error_of_logits_all_alike_is_a_number():
    flat = torch.zeros(1, 3, 4)
    assert relative_error(flat, flat) == 0.0
    assert isfinite(relative_error(flat, flat + torch.arange(4.0)))
