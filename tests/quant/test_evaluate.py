import numpy as np
import pytest
import torch

from cosim.ir.errors import InternalError
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.ops import Embed
from cosim.torch_exec import TorchExecutor
from quant.evaluate import divergence, float_logits, int_logits, next_token_bits, windows
from tests.quant.random_models import random_model, random_tokens


def test_windows_drop_the_rest():
    assert windows(np.arange(11, dtype=np.uint8), 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert windows(np.arange(3), 4).shape == (0, 4)
    assert windows(np.arange(8, dtype=np.uint8), 4).dtype == torch.int64


@pytest.mark.parametrize("vocabulary", [2, 35, 256])
def test_a_uniform_model_needs_the_logarithm_of_its_vocabulary(vocabulary):
    logits = torch.full((2, 5, vocabulary), 3.7)
    tokens = torch.randint(0, vocabulary, (2, 5))
    bits = next_token_bits(logits, tokens)
    assert bits.shape == (2, 4)
    assert torch.allclose(bits, torch.full((2, 4), float(np.log2(vocabulary))).double())


def test_each_logit_speaks_of_the_token_after_it():
    """p(next = 1) is 1/4 after the first token, 3/4 after the second; the third predicts none."""
    odds = torch.tensor([[[3.0, 1.0], [1.0, 3.0], [1e9, 1.0]]])
    bits = next_token_bits(odds.log(), torch.tensor([[0, 1, 1]]))
    assert bits.tolist() == [[pytest.approx(2.0), pytest.approx(-np.log2(0.75))]]


def test_bits_do_not_depend_on_an_offset_and_bear_large_logits():
    logits = torch.randn(1, 6, 9, generator=torch.Generator().manual_seed(0)) * 300
    tokens = torch.randint(0, 9, (1, 6), generator=torch.Generator().manual_seed(1))
    bits = next_token_bits(logits, tokens)
    assert torch.isfinite(bits).all()
    assert torch.allclose(bits, next_token_bits(logits + 1000.0, tokens), rtol=1e-4)


def test_the_divergence_of_equal_logits_is_zero():
    logits = torch.randn(2, 7, 11)
    same, kl = divergence(logits, logits + 5.0)
    assert same.all()
    assert kl.abs().max() < 1e-6


def test_the_divergence_of_a_hand_example():
    p, q = torch.tensor([[[0.5, 0.5], [0.25, 0.75]]]), torch.tensor([[[0.25, 0.75], [0.5, 0.5]]])
    same, kl = divergence(p.log(), q.log())
    first = 0.5 * np.log2(0.5 / 0.25) + 0.5 * np.log2(0.5 / 0.75)
    second = 0.25 * np.log2(0.25 / 0.5) + 0.75 * np.log2(0.75 / 0.5)
    assert kl.tolist() == [[pytest.approx(first), pytest.approx(second)]]
    assert same.shape == (1, 2)
    same, _ = divergence(torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]), torch.tensor([[[0.0, 1.0]] * 2]))
    assert same.tolist() == [[True, False]]


def test_the_divergence_is_that_of_the_reference_from_the_other():
    p, q = torch.tensor([[[4.0, 0.0, -4.0]]]), torch.tensor([[[0.0, 0.0, 0.0]]])
    assert divergence(p, q)[1] == pytest.approx(1.5849625 - entropy(p), rel=1e-5)
    assert divergence(p, q)[1] != pytest.approx(float(divergence(q, p)[1]), rel=0.01)


def entropy(logits: torch.Tensor) -> float:
    p = logits.double().softmax(-1)
    return float(-(p * p.log2()).sum())


def lookup(scale: float | None) -> Model:
    """Return a model whose logits are rows of a table of three tokens."""
    b = GraphBuilder("step")
    token = b.input("token", TensorType(u(2), (), 0, 2))
    table = b.const("table", np.array([[1, -2], [300, 4], [0, 7]]), i(16))
    b.output("logits", b.add("logits", Embed(), token, table, scale=scale))
    segment = Segment("step", b.build(), {"token": "token"})
    return Model("x", {"token": TensorType(u(2), (), 0, 2)}, (segment,), {"logits": "step.logits"})


def test_integer_logits_are_scaled():
    got = int_logits(TorchExecutor(lookup(0.25)), torch.tensor([[1, 0, 2]]))
    assert got.tolist() == [[[75.0, 1.0], [0.25, -0.5], [0.0, 1.75]]]


def test_integer_logits_without_a_scale_are_our_own_mistake():
    with pytest.raises(InternalError, match="carry no scale"):
        int_logits(TorchExecutor(lookup(None)), torch.tensor([[1]]))


def test_float_logits_keep_no_gradient():
    model = random_model("mamba2")
    model.weights["lm_head.weight"].requires_grad_(True)
    assert not float_logits(model, random_tokens(model, 1, 3)).requires_grad
