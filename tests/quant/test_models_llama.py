"""Our float Llama against transformers' LlamaForCausalLM and MistralForCausalLM."""

import json

import pytest
import torch

from cosim.ir.errors import UserError
from quant.models import llama
from quant.models.attend import rope_angles, rotate_pairs
from quant.models.checkpoint import read_checkpoint
from tests.quant.hf_models import (
    LLAMA_BASE,
    LLAMA_CASES,
    MISTRAL_CASES,
    assert_near,
    greedy_of,
    logits_of,
    random_llama,
    random_tokens,
)

CASES = [*LLAMA_CASES, *MISTRAL_CASES]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return transformers' model of a case and ours, read from the folder that theirs wrote."""
    made = {}

    def make(case):
        if case not in made:
            theirs = random_llama(case)
            folder = tmp_path_factory.mktemp("llama")
            theirs.save_pretrained(folder)
            made[case] = theirs, llama.read_model(read_checkpoint(folder))
        return made[case]

    return make


@pytest.mark.parametrize("case", CASES)
def test_logits_and_greedy_tokens_equal_transformers(pair, case):
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=2, length=75)
    assert_near(llama.sequence(ours, tokens), logits_of(theirs, tokens))
    prompt = tokens[:, :9]
    assert torch.equal(llama.generate(ours, prompt, 8), greedy_of(theirs, prompt, 8))


@pytest.mark.parametrize("case", ["three queries a key", "window 7", "window 1"])
def test_steps_and_cuts_equal_the_sequence(pair, case):
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=2, length=23)
    whole = llama.sequence(ours, tokens)
    state = llama.initial_state(ours, 2)
    steps = []
    for t in range(23):
        logits, state = llama.step(ours, tokens[:, t], state)
        steps.append(logits)
    assert_near(torch.stack(steps, 1), whole)
    for cut in (1, 7, 22):
        head, after = llama.advance(ours, tokens[:, :cut], llama.initial_state(ours, 2))
        tail, _ = llama.advance(ours, tokens[:, cut:], after)
        assert_near(torch.cat([head, tail], 1), whole)


def test_every_matrix_is_listed_with_the_tap_of_its_input(pair):
    _, ours = pair("biases")
    seen = {}
    llama.sequence(ours, torch.arange(5)[None], lambda name, x: seen.update({name: x}))
    listed = llama.linears(ours)
    shapes = llama.weight_shapes(ours.config)
    assert {m for m, _ in listed} == {
        n for n, s in shapes.items() if len(s) == 2 and "embed" not in n
    }
    for matrix, tap in listed:
        assert seen[tap].shape[-1] == shapes[matrix][1]


def test_scores_depend_on_distances_only():
    x, y = torch.randn(2, 1, 1, 1, 12, dtype=torch.float64).unbind()

    def score(i, j):
        a, b = (rotate_pairs(v, rope_angles(n, 1, 12, 50.0)) for v, n in ((x, i), (y, j)))
        return float((a * b).sum())

    assert score(9, 4) == pytest.approx(score(25, 20), rel=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_key_value_heads": 4}, "num_key_value_heads 4 does not divide"),
        ({"num_attention_heads": 5}, "num_attention_heads is 5, but it must be a divisor of"),
        ({"head_dim": 9}, "head_dim 9 is odd"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "asks for the RoPE scaling 'yarn'"),
        ({"rope_parameters": {"type": "linear", "factor": 2}}, "the RoPE scaling 'linear'"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"rope_parameters": {"rope_theta": -1}}, "rope_theta is -1"),
        ({"rope_parameters": 3}, "rope_parameters is 3"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window is 0"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
    ],
)
def test_what_is_not_implemented_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        llama.read_config(LLAMA_BASE | change)


def test_older_files_keep_theta_beside_the_sizes():
    assert llama.read_config(LLAMA_BASE | {"rope_theta": 500000}).rope_theta == 500000.0
    newer = {"rope_parameters": {"rope_theta": 7.0}, "rope_theta": 500000}
    assert llama.read_config(LLAMA_BASE | newer).rope_theta == 7.0


def test_texts_past_the_positions_and_other_batches_are_refused(pair):
    _, ours = pair("three queries a key")
    with pytest.raises(UserError, match="the text has 81 tokens, but the model was made for 80"):
        llama.sequence(ours, torch.zeros(1, 81, dtype=torch.int64))
    with pytest.raises(UserError, match="made for a batch of 2"):
        llama.advance(ours, torch.zeros(1, 3, dtype=torch.int64), llama.initial_state(ours, 2))


def test_a_folder_without_a_matrix_is_refused(tmp_path, pair):
    theirs, _ = pair("three queries a key")
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"attention_bias": True}))
    with pytest.raises(UserError, match=r"lacks .*q_proj\.bias"):
        llama.read_model(read_checkpoint(tmp_path))
