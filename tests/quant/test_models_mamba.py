"""Our float Mamba against transformers' MambaForCausalLM, and its forms against each other."""

import pytest
import torch

from cosim.ir.errors import UserError
from quant.models import Mamba, load_model, mamba
from quant.models.common import orthonormal_hadamard
from tests.quant.hf_models import (
    MAMBA_CASES,
    assert_near,
    greedy_of,
    logits_of,
    random_mamba,
    random_tokens,
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return transformers' model of a case and ours, read from the folder that theirs wrote."""
    made = {}

    def make(case):
        if case not in made:
            theirs = random_mamba(case)
            folder = tmp_path_factory.mktemp("mamba")
            theirs.save_pretrained(folder)
            made[case] = theirs, load_model(folder)
        return made[case]

    return make


@pytest.mark.parametrize("case", MAMBA_CASES)
def test_logits_and_greedy_tokens_equal_transformers(pair, case):
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=2, length=75)
    assert_near(mamba.sequence(ours, tokens), logits_of(theirs, tokens))
    prompt = tokens[:, :9]
    assert torch.equal(mamba.generate(ours, prompt, 8), greedy_of(theirs, prompt, 8))


def test_generated_tokens_equal_transformers_own_generate(pair):
    theirs, ours = pair("untied")
    prompt = random_tokens(theirs, batch=1, length=6)
    theirs.generation_config.eos_token_id = None
    told = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12,
                           do_sample=False, pad_token_id=0)  # fmt: skip
    assert torch.equal(mamba.generate(ours, prompt, 12), told[:, 6:])


@pytest.mark.parametrize("case", MAMBA_CASES)
def test_steps_equal_the_sequence(pair, case):
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=2, length=20)
    state = mamba.initial_state(ours, 2)
    steps = []
    for t in range(20):
        logits, state = mamba.step(ours, tokens[:, t], state)
        steps.append(logits)
    assert_near(torch.stack(steps, 1), mamba.sequence(ours, tokens))


def test_a_sequence_may_be_cut_anywhere(pair):
    theirs, ours = pair("conv width 3, no conv bias")
    tokens = random_tokens(theirs, batch=1, length=23)
    whole = mamba.sequence(ours, tokens)
    state = mamba.initial_state(ours, 1)
    for cut in (1, 2, 11, 22):
        head, after = mamba.advance(ours, tokens[:, :cut], state)
        tail, _ = mamba.advance(ours, tokens[:, cut:], after)
        assert_near(torch.cat([head, tail], 1), whole)


@pytest.mark.parametrize("case", ["bias", "inner width 43", "conv width 1"])
def test_tapping_does_not_change_the_logits_and_shows_every_value(pair, case):
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=2, length=7)
    seen = {}

    def tap(name, value):
        seen.setdefault(name, []).append(tuple(value.shape))

    assert_near(mamba.sequence(ours, tokens, tap), mamba.sequence(ours, tokens))
    config = ours.config
    inner, d, n = config.intermediate_size, config.hidden_size, config.state_size
    widths = {
        "residual": d, "norm": d, "in_proj": 2 * inner, "z": inner, "conv_in": inner, "conv": inner,
        "x": inner, "B": n, "C": n, "dt_rank": config.time_step_rank, "dt_raw": inner, "dt": inner,
        "y": inner, "gate": inner, "gated": inner, "out_in": inner, "out": d,
    }  # fmt: skip
    for i in range(2):
        for name, width in widths.items():
            assert seen.pop(f"layers.{i}.{name}") == [(2, 7, width)], name
        assert seen.pop(f"layers.{i}.v") == [(2, 7, inner, n)]
        assert seen.pop(f"layers.{i}.state") == [(2, inner, n)] * 7
    assert seen == {"embed": [(2, 7, d)], "final_norm": [(2, 7, d)], "logits": [(2, 7, 101)]}


def test_taps_see_what_transformers_modules_see(pair):
    theirs, ours = pair("bias")
    tokens = random_tokens(theirs, batch=1, length=9)
    mixer = theirs.backbone.layers[1].mixer
    inputs, outputs, seen = {}, {}, {}
    for name in ("in_proj", "x_proj", "out_proj"):

        def hook(module, args, out, name=name):
            inputs[name], outputs[name] = args[0], out

        getattr(mixer, name).register_forward_hook(hook)
    logits_of(theirs, tokens)
    mamba.sequence(ours, tokens, lambda name, value: seen.update({name: value}))
    rank, B, C = outputs["x_proj"].split([ours.config.time_step_rank, 5, 5], dim=-1)
    for tap, value in {
        "norm": inputs["in_proj"], "in_proj": outputs["in_proj"], "x": inputs["x_proj"],
        "dt_rank": rank, "B": B, "C": C, "out_in": inputs["out_proj"], "out": outputs["out_proj"],
    }.items():  # fmt: skip
        torch.testing.assert_close(seen[f"layers.1.{tap}"], value, rtol=1e-4, atol=1e-4, msg=tap)


def test_a_tap_that_returns_a_tensor_replaces_the_value(pair):
    theirs, ours = pair("untied")
    tokens = random_tokens(theirs, batch=1, length=12)
    plain = mamba.sequence(ours, tokens)
    names = set()
    mamba.sequence(ours, tokens, lambda name, value: names.add(name))
    for wanted in names:

        def reverse_channels(name, value, wanted=wanted):
            return value.flip(-1) if name == wanted else None

        changed = mamba.sequence(ours, tokens, reverse_channels) - plain
        assert changed.abs().max() > 1e-2, wanted


def test_counter_rotated_weights_with_the_online_rotation_keep_the_function(pair):
    theirs, ours = pair("d_model 96")
    tokens = random_tokens(theirs, batch=1, length=30)
    name = "backbone.layers.0.mixer.out_proj.weight"
    weights = dict(ours.weights) | {name: ours.weights[name] @ orthonormal_hadamard(192).T}
    rotated = Mamba(ours.config, weights, out_hadamard=True)
    assert_near(mamba.sequence(rotated, tokens), logits_of(theirs, tokens))
    lone = mamba.sequence(Mamba(ours.config, weights), tokens)
    assert (lone - logits_of(theirs, tokens)).abs().max() > 0.1


def test_an_inner_width_without_a_hadamard_matrix_is_one_sentence(pair):
    _, ours = pair("inner width 43")
    rotated = Mamba(ours.config, ours.weights, out_hadamard=True)
    with pytest.raises(UserError, match="no Hadamard matrix of order 43"):
        mamba.sequence(rotated, torch.tensor([[1]]))


def test_linears_name_every_matrix_and_the_tap_of_its_input(pair):
    _, ours = pair("untied")
    widths = {}
    mamba.sequence(ours, torch.tensor([[1, 2]]), lambda n, v: widths.update({n: v.shape[-1]}))
    assert {name: widths[tap] for name, tap in mamba.linears(ours)} == {
        name: tensor.shape[1]
        for name, tensor in ours.weights.items()
        if tensor.dim() == 2 and "embeddings" not in name and "A_log" not in name
    }


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"time_step_rank": "half"}, "time_step_rank is 'half', but it must be an integer"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu', but it must be 'silu' or 'swish'"),
        ({"rms_norm": False}, "rms_norm is False, but it must be True"),
        ({"conv_kernel": 0}, "conv_kernel is 0, but it must be an integer of at least 1"),
        ({"expand": 0}, "expand is 0, but it must be a number above zero"),
    ],
)
def test_a_config_that_cannot_be_honoured_is_refused_by_name(values, sentence):
    with pytest.raises(UserError, match=sentence):
        mamba.read_config({"hidden_size": 24} | values)


def test_absent_and_null_keys_mean_transformers_defaults():
    from transformers import MambaConfig

    theirs = MambaConfig(hidden_size=50)
    ours = mamba.read_config({"hidden_size": 50, "state_size": None})
    for key, value in vars(ours).items():
        assert getattr(theirs, key) == value, key
