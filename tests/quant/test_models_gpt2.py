"""Our float GPT-2 against transformers' GPT2LMHeadModel."""

import pytest
import torch

from cosim.ir.errors import UserError
from quant.models import gpt2
from quant.models.checkpoint import read_checkpoint
from tests.quant.hf_models import (
    GPT2_BASE,
    GPT2_CASES,
    assert_near,
    greedy_of,
    logits_of,
    random_gpt2,
    random_tokens,
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return transformers' model of a case and ours, read from the folder that theirs wrote."""
    made = {}

    def make(case):
        if case not in made:
            theirs = random_gpt2(case)
            folder = tmp_path_factory.mktemp("gpt2")
            theirs.save_pretrained(folder)
            made[case] = theirs, gpt2.read_model(read_checkpoint(folder))
        return made[case]

    return make


@pytest.mark.parametrize("case", GPT2_CASES)
def test_logits_and_greedy_tokens_equal_transformers(pair, case):
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=2, length=75)
    assert_near(gpt2.sequence(ours, tokens), logits_of(theirs, tokens))
    prompt = tokens[:, :9]
    assert torch.equal(gpt2.generate(ours, prompt, 8), greedy_of(theirs, prompt, 8))


def test_steps_and_cuts_equal_the_sequence(pair):
    theirs, ours = pair("scores scaled by layer")
    tokens = random_tokens(theirs, batch=2, length=23)
    whole = gpt2.sequence(ours, tokens)
    state = gpt2.initial_state(ours, 2)
    steps = []
    for t in range(23):
        logits, state = gpt2.step(ours, tokens[:, t], state)
        steps.append(logits)
    assert_near(torch.stack(steps, 1), whole)
    head, after = gpt2.advance(ours, tokens[:, :7], gpt2.initial_state(ours, 2))
    tail, _ = gpt2.advance(ours, tokens[:, 7:], after)
    assert_near(torch.cat([head, tail], 1), whole)


def test_every_matrix_is_listed_with_the_tap_of_its_input(pair):
    _, ours = pair("inner 43, untied")
    seen = {}
    gpt2.sequence(ours, torch.arange(5)[None], lambda name, x: seen.update({name: x}))
    listed = gpt2.linears(ours)
    assert {m for m, _ in listed} == {
        n for n, w in ours.weights.items() if w.dim() == 2 and ".w" not in n.replace(".weight", "")
    }
    for matrix, tap in listed:
        assert seen[tap].shape[-1] == ours.weights[matrix].shape[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_head": 5}, "n_head is 5, but it must be a divisor of n_embd 36"),
        ({"activation_function": "silu"}, "activation_function is 'silu'"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"n_positions": 0}, "n_positions is 0"),
    ],
)
def test_what_is_not_implemented_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        gpt2.read_config(GPT2_BASE | change)


def test_texts_past_the_positions_and_other_batches_are_refused(pair):
    _, ours = pair("as it was")
    with pytest.raises(UserError, match="the text has 81 tokens, but the model was made for 80"):
        gpt2.sequence(ours, torch.zeros(1, 81, dtype=torch.int64))
    with pytest.raises(UserError, match="made for a batch of 2"):
        gpt2.advance(ours, torch.zeros(1, 3, dtype=torch.int64), gpt2.initial_state(ours, 2))
