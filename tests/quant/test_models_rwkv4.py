"""Our float RWKV-4 against transformers' RwkvForCausalLM and published logits."""

import pytest
import torch

from cosim.ir.errors import UserError
from quant.models import load_model, rwkv4
from tests.quant.hf_models import (
    RWKV_BASE,
    RWKV_CASES,
    assert_near,
    greedy_of,
    logits_of,
    random_rwkv,
    random_tokens,
)
from tests.rwkv_files import expected_logits, read_rwkv_file

PROMPT = torch.tensor([list(b'"in')])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return transformers' model of a case and ours, read from the folder that theirs wrote."""
    made = {}

    def make(case):
        if case not in made:
            theirs = random_rwkv(case)
            folder = tmp_path_factory.mktemp("rwkv")
            theirs.save_pretrained(folder)
            made[case] = theirs, load_model(folder)
        return made[case]

    return make


@pytest.mark.parametrize("case", RWKV_CASES)
def test_logits_and_greedy_tokens_equal_transformers(pair, case):
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=2, length=75)
    assert_near(rwkv4.sequence(ours, tokens), logits_of(theirs, tokens))
    prompt = tokens[:, :9]
    assert torch.equal(rwkv4.generate(ours, prompt, 8), greedy_of(theirs, prompt, 8))


@pytest.mark.parametrize("case", ["as it was", "d_model 33"])
def test_steps_with_states_equal_those_of_transformers(pair, case):
    """One sequence: with more, transformers 5.23 mixes their token shifts up in single steps."""
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=1, length=19)
    state, rows, cache = rwkv4.initial_state(ours, 1), [], None
    for t in range(19):
        logits, state = rwkv4.step(ours, tokens[:, t], state)
        rows.append(logits)
        with torch.no_grad():
            step = theirs(tokens[:, t : t + 1], state=cache, use_cache=True)
        cache = step.state
        assert_near(logits, step.logits[:, 0])
    for i, layer in enumerate(state):
        for k, ours_state in enumerate((layer.fed, layer.mixed, *layer.wkv.unbind(1))):
            theirs_state = cache[k][:, :, i]
            assert (ours_state - theirs_state).abs().max() <= 1e-4 * theirs_state.abs().max()
    assert_near(torch.stack(rows, 1), rwkv4.sequence(ours, tokens))


def test_cuts_equal_the_sequence(pair):
    theirs, ours = pair("d_model 33")
    tokens = random_tokens(theirs, batch=2, length=23)
    head, after = rwkv4.advance(ours, tokens[:, :7], rwkv4.initial_state(ours, 2))
    tail, _ = rwkv4.advance(ours, tokens[:, 7:], after)
    assert_near(torch.cat([head, tail], 1), rwkv4.sequence(ours, tokens))


def test_every_matrix_is_listed_with_the_tap_of_its_input(pair):
    _, ours = pair("inner 43, tied")
    seen = {}
    rwkv4.sequence(ours, torch.arange(5)[None], lambda name, x: seen.update({name: x}))
    listed = rwkv4.linears(ours)
    matrices = {n for n, w in ours.weights.items() if w.dim() == 2 and "embeddings" not in n}
    assert {m for m, _ in listed} == matrices
    for matrix, tap in listed:
        assert seen[tap].shape[-1] == ours.weights[matrix].shape[1]


def test_published_logits_are_met():
    logits = rwkv4.sequence(read_rwkv_file("4v0-660K"), PROMPT)[0, -1]
    assert (logits - expected_logits("4v0-660K")).abs().max() < 1e-5


def test_means_stay_finite_at_the_ends_of_the_range():
    """Keys of +-80 overflow a naive sum of powers; here the larger one decides alone."""
    k = torch.tensor([80.0, -80.0, 0.0, 80.0]).reshape(1, 4, 1)
    v = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1)
    state = torch.tensor([0.0, 0.0, rwkv4.NOTHING]).reshape(1, 3, 1)
    wkv, _ = rwkv4.weighted_mean(k, v, torch.tensor([-0.0]), torch.tensor([0.0]), state)
    assert wkv.flatten().tolist() == [1.0, 1.0, 1.0, 2.5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"layer_norm_epsilon": -1}, "layer_norm_epsilon is -1"),
        ({"hidden_size": "24"}, "hidden_size is '24'"),
    ],
)
def test_what_is_not_implemented_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        rwkv4.read_config(RWKV_BASE | change)


def test_other_batches_are_refused(pair):
    _, ours = pair("as it was")
    with pytest.raises(UserError, match="made for a batch of 2"):
        rwkv4.advance(ours, torch.zeros(1, 3, dtype=torch.int64), rwkv4.initial_state(ours, 2))
