"""Integer BERT encoders against float ones, and the figures that compare embeddings."""

import importlib.util

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from cosim.ir.errors import UserError
from cosim.reference import run
from cosim.torch_exec import TorchExecutor
from quant.encoders import (
    RECIPES,
    encoder_recipe,
    float_embeddings,
    int_embeddings,
    likeness,
    quantise_encoder,
    rank_correlation,
)
from quant.models import bert
from quant.models.checkpoint import read_checkpoint
from quant.models.minilm import PACKAGE, load_minilm, word_pieces
from quant.quantise import quantise
from quant.recipes import find_recipe
from quant.sentence_text import Sentence, digest_of, docstring_sentences, draw_pairs
from tests.quant.hf_models import randomised

ACTIVATIONS = ("gelu", "gelu_new", "relu")


@pytest.fixture(scope="module", params=ACTIVATIONS)
def model(request, tmp_path_factory):
    config = BertConfig(
        vocab_size=97, hidden_size=40, num_hidden_layers=2, num_attention_heads=5,
        intermediate_size=72, max_position_embeddings=37, hidden_act=request.param,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("bert")
    theirs = randomised(BertModel(config), 5)
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            if name.endswith("LayerNorm.weight"):
                value.abs_().add_(0.5)  # a gain near 0 takes a channel away
    theirs.save_pretrained(folder)
    return bert.read_model(read_checkpoint(folder))


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(0, 97, (24, 23), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def eight(model, tokens):
    return quantise_encoder("x", model, encoder_recipe(8, 8, 37), tokens).integer


def test_hidden_states_are_near_the_float_ones(model, eight, tokens):
    real = bert.sequence(model, tokens[:4])
    got = TorchExecutor(eight).run({"token": tokens[:4].numpy()}).outputs["hidden"]
    scale = eight.output_scale("hidden")
    error = torch.from_numpy(got).double() * scale - real
    assert float(error.square().mean().sqrt() / real.square().mean().sqrt()) < 0.01


def test_all_executors_agree_and_every_token_sees_all(eight, tokens):
    inputs = {"token": tokens[0, :9].numpy()}
    plain, fast = run(eight, inputs), TorchExecutor(eight).run(inputs)
    for name in ("hidden", "embedding"):
        assert plain.outputs[name].tolist() == fast.outputs[name].tolist()
    other = inputs["token"].copy()
    other[-1] = (other[-1] + 1) % 97
    changed = TorchExecutor(eight).run({"token": other}).outputs["hidden"]
    assert (changed[0] != plain.outputs["hidden"][0]).any(), "the last token must reach the first"


def test_the_embedding_is_the_sum_of_the_hidden_states(eight, tokens):
    outputs = TorchExecutor(eight).run({"token": tokens[:3].numpy()}).outputs
    assert (outputs["embedding"] == outputs["hidden"].cumsum(axis=1)).all()


def test_texts_of_unequal_length_come_back_in_order(model, eight, tokens):
    sentences = [tokens[k, :n] for k, n in enumerate((5, 23, 5, 1, 11))]
    real = float_embeddings(model, sentences)
    for row, sentence in zip(real, sentences, strict=True):
        alone = bert.embedding(bert.sequence(model, sentence[None]))[0]
        assert torch.allclose(row, alone, atol=1e-5)
    found = likeness(
        real, int_embeddings(TorchExecutor(eight), sentences), np.array([[0, 1], [2, 4]])
    )
    assert found.least_cosine > 0.99


def test_fewer_bits_are_farther_away(model, eight, tokens):
    four = quantise_encoder("x", model, encoder_recipe(4, 8, 37), tokens).integer
    sentences = list(tokens)
    real = float_embeddings(model, sentences)
    cosine = [
        (real * int_embeddings(TorchExecutor(m), sentences)).sum(-1).mean() for m in (eight, four)
    ]
    assert 0.9 < cosine[1] < cosine[0] <= 1 + 1e-6


@pytest.mark.parametrize("recipe", ["w8a8", "w4a4-rtn", "lightmamba"])
def test_recipes_of_language_models_refuse_encoders(model, tokens, recipe):
    with pytest.raises(UserError, match=r"quantise_encoder|the released graph is of Mamba-2"):
        quantise("x", model, find_recipe(recipe), tokens)


def test_a_text_past_the_context_is_one_sentence(eight):
    with pytest.raises(UserError, match="its context ends after 37"):
        TorchExecutor(eight).run({"token": np.zeros(38, np.int64)})


def test_ranks_correlate_as_spearman_says():
    """Source: the textbook form 1 - 6 sum d^2 / n (n^2 - 1), which holds without ties."""
    rng = np.random.default_rng(0)
    for n in (2, 5, 101):
        a, b = rng.permutation(n), rng.permutation(n)
        want = 1 - 6 * ((a - b) ** 2).sum() / (n * (n * n - 1))
        assert rank_correlation(a.astype(float), np.exp(b)) == pytest.approx(want)
    with pytest.raises(UserError, match="at least two pairs"):
        rank_correlation(np.ones(3), np.arange(3.0))


def test_likeness_of_what_is_alike_and_of_what_is_turned():
    real = torch.nn.functional.normalize(torch.randn(6, 9, generator=torch.Generator()), dim=-1)
    pairs = np.array([[0, 1], [2, 3], [4, 5], [0, 5]])
    same = likeness(real, real, pairs)
    assert same.mean_cosine == pytest.approx(1)
    assert (same.rank_correlation, same.largest_difference) == (pytest.approx(1), 0)
    assert likeness(real, -real, pairs).mean_cosine == pytest.approx(-1)
    assert likeness(real, real.flip(0), pairs).rank_correlation < 0.99


def test_sentences_are_the_pinned_ones_and_calibration_sees_other_files():
    evaluation, calibration = docstring_sentences()
    assert len(evaluation) > 1000
    assert len(calibration) > 300
    assert not {s.file for s in evaluation} & {s.file for s in calibration}
    assert not {s.text for s in evaluation} & {s.text for s in calibration}
    pairs = draw_pairs(evaluation, 200)
    files = np.array([[evaluation[k].file for k in pair] for pair in pairs])
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert (files[1::2, 0] == files[1::2, 1]).all()
    assert (files[::2, 0] == files[::2, 1]).mean() < 0.2


def test_another_release_of_the_text_is_refused(monkeypatch):
    changed = [Sentence("a.py", "Another text than the pinned one.")]
    monkeypatch.setattr("quant.sentence_text._sentences", lambda folder: iter(changed))
    with pytest.raises(UserError, match=f"have sha256 {digest_of(changed)[:12]}"):
        docstring_sentences()


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="the extra `minilm` carries the weights"
)
def test_minilm_meets_its_targets_on_a_few_pairs():
    from tests.benchmarks.sentence_pairs import calibration_rows

    evaluation, calibration = docstring_sentences()
    pairs = draw_pairs(evaluation, 40)
    used, places = np.unique(pairs, return_inverse=True)
    pieces = word_pieces([evaluation[k].text for k in used])
    model = load_minilm()
    real = float_embeddings(model, pieces)
    rows = calibration_rows(calibration)
    for name, cosine, rank in (("w8a8", 0.995, 0.995), ("w4a8", 0.98, 0.98)):
        integer = quantise_encoder("minilm", model, RECIPES[name], rows).integer
        found = likeness(
            real, int_embeddings(TorchExecutor(integer), pieces), places.reshape(-1, 2)
        )
        assert found.mean_cosine > cosine
        assert found.rank_correlation > rank
