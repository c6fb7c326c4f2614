"""Our float Mamba-2 against transformers' Mamba2ForCausalLM, and its forms against each other."""

import dataclasses

import pytest
import torch
from transformers.models.mamba2 import modeling_mamba2

from cosim.ir.errors import UserError
from quant.models import Mamba2, load_model, mamba2
from quant.models.common import orthonormal_hadamard
from quant.models.ssd import scan_by_chunks, scan_by_tokens
from tests.quant.hf_models import (
    MAMBA2_CASES,
    assert_near,
    greedy_of,
    logits_of,
    random_mamba2,
    random_tokens,
)


@pytest.fixture(scope="module")
def pair(request, tmp_path_factory):
    """Return transformers' model of a case and ours, read from the folder that theirs wrote."""
    made = {}

    def make(case):
        if case not in made:
            theirs = random_mamba2(case)
            folder = tmp_path_factory.mktemp("mamba2")
            theirs.save_pretrained(folder)
            made[case] = theirs, load_model(folder)
        return made[case]

    return make


@pytest.mark.parametrize("case", MAMBA2_CASES)
def test_logits_and_greedy_tokens_equal_transformers(pair, case):
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=2, length=75)  # longer than a chunk, not a multiple
    assert_near(mamba2.sequence(ours, tokens), logits_of(theirs, tokens))
    prompt = tokens[:, :9]
    assert torch.equal(mamba2.generate(ours, prompt, 8), greedy_of(theirs, prompt, 8))


def test_generated_tokens_equal_transformers_own_generate(pair):
    theirs, ours = pair("one group")
    prompt = random_tokens(theirs, batch=1, length=6)
    theirs.generation_config.eos_token_id = None
    told = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12,
                           do_sample=False, pad_token_id=0)  # fmt: skip
    assert torch.equal(mamba2.generate(ours, prompt, 12), told[:, 6:])


@pytest.mark.parametrize("case", MAMBA2_CASES)
def test_steps_equal_the_sequence(pair, case):
    _, ours = pair(case)
    tokens = random_tokens(pair(case)[0], batch=2, length=20)
    state = mamba2.initial_state(ours, 2)
    steps = []
    for t in range(20):
        logits, state = mamba2.step(ours, tokens[:, t], state)
        steps.append(logits)
    assert_near(torch.stack(steps, 1), mamba2.sequence(ours, tokens))


def test_a_sequence_may_be_cut_anywhere(pair):
    _, ours = pair("chunks of 5")
    tokens = random_tokens(pair("chunks of 5")[0], batch=1, length=23)
    whole = mamba2.sequence(ours, tokens)
    state = mamba2.initial_state(ours, 1)
    for cut in (1, 2, 11, 22):
        head, after = mamba2.advance(ours, tokens[:, :cut], state)
        tail, _ = mamba2.advance(ours, tokens[:, cut:], after)
        assert_near(torch.cat([head, tail], 1), whole)


def test_chunked_scan_equals_the_scan_in_double_where_decays_are_extreme():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 200, 4, 3, generator=generator)
    v = torch.rand(1, 200, 4, generator=generator) * torch.tensor([1e-4, 0.1, 3.0, 200.0])
    v[:, ::50, 1] = 3000.0  # a sum so large that float32 would lose the small terms beside it
    B, C = torch.randn(2, 1, 200, 2, 5, generator=generator)
    state = torch.randn(1, 4, 3, 5, generator=generator)
    dt = torch.rand(1, 200, 4, generator=generator)
    double = [value.double() for value in (x, dt, v, B, C, state)]
    expected_y, expected_state = scan_by_tokens(*double)
    for chunk in (1, 7, 64, 256):
        y, after = scan_by_chunks(x, dt, v, B, C, state, chunk)
        torch.testing.assert_close(y.double(), expected_y, rtol=2e-5, atol=2e-5)
        torch.testing.assert_close(after.double(), expected_state, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("case", ["bias", "dt limits", "conv width 1"])
def test_tapping_does_not_change_the_logits_and_shows_every_value(pair, case):
    theirs, ours = pair(case)
    tokens = random_tokens(theirs, batch=2, length=7)
    seen = {}

    def tap(name, value):
        seen.setdefault(name, []).append(tuple(value.shape))

    assert_near(mamba2.sequence(ours, tokens, tap), mamba2.sequence(ours, tokens))
    config = ours.config
    inner, grouped = config.intermediate_size, config.n_groups * config.state_size
    channels, heads, d = config.conv_channels, config.num_heads, config.hidden_size
    widths = {
        "residual": d, "norm": d, "in_proj": inner + channels + heads, "z": inner,
        "conv_in": channels, "conv": channels, "x": inner, "B": grouped, "C": grouped,
        "dt_raw": heads, "dt": heads, "v": heads, "y": inner, "gate": inner, "gated": inner,
        "gated_norm": inner, "out_in": inner, "out": d,
    }  # fmt: skip
    for i in range(2):
        for name, width in widths.items():
            assert seen.pop(f"layers.{i}.{name}") == [(2, 7, width)], name
        assert seen.pop(f"layers.{i}.state") == [(2, heads, config.head_dim, config.state_size)] * 7
    assert seen == {"embed": [(2, 7, d)], "final_norm": [(2, 7, d)], "logits": [(2, 7, 101)]}


def test_taps_see_what_transformers_modules_see(pair):
    theirs, ours = pair("bias")
    tokens = random_tokens(theirs, batch=1, length=9)
    mixer = theirs.backbone.layers[1].mixer
    inputs, outputs, seen = {}, {}, {}
    for name in ("in_proj", "out_proj", "norm"):

        def hook(module, args, out, name=name):
            inputs[name], outputs[name] = args[0], out

        getattr(mixer, name).register_forward_hook(hook)
    logits_of(theirs, tokens)
    mamba2.sequence(ours, tokens, lambda name, value: seen.update({name: value}))
    for tap, value in {
        "norm": inputs["in_proj"], "in_proj": outputs["in_proj"], "y": inputs["norm"],
        "gated_norm": outputs["norm"], "out_in": inputs["out_proj"], "out": outputs["out_proj"],
    }.items():  # fmt: skip
        torch.testing.assert_close(seen[f"layers.1.{tap}"], value, rtol=1e-4, atol=1e-4, msg=tap)


def test_a_tap_that_returns_a_tensor_replaces_the_value(pair):
    theirs, ours = pair("one group")
    tokens = random_tokens(theirs, batch=1, length=12)
    plain = mamba2.sequence(ours, tokens)
    names = set()
    mamba2.sequence(ours, tokens, lambda name, value: names.add(name))
    for wanted in names:

        def reverse_channels(name, value, wanted=wanted):
            return value.flip(-1) if name == wanted else None

        changed = mamba2.sequence(ours, tokens, reverse_channels) - plain
        assert changed.abs().max() > 1e-2, wanted


def test_counter_rotated_weights_with_the_online_rotation_keep_the_function(pair):
    theirs, ours = pair("d_model 96, head_dim 12")  # d_inner 192 = 12 * 16: H is not symmetric
    tokens = random_tokens(theirs, batch=1, length=30)
    weights = dict(ours.weights)
    for i in range(2):
        name = f"backbone.layers.{i}.mixer.out_proj.weight"
        weights[name] = weights[name] @ orthonormal_hadamard(192).T
    assert_near(mamba2.sequence(Mamba2(ours.config, weights, out_hadamard=True), tokens),
                logits_of(theirs, tokens))  # fmt: skip
    lone = mamba2.sequence(Mamba2(ours.config, weights), tokens)
    assert (lone - logits_of(theirs, tokens)).abs().max() > 0.1


def test_rotating_b_and_c_along_the_state_keeps_the_function_and_rotates_the_state(tmp_path):
    from transformers import Mamba2Config, Mamba2ForCausalLM

    from tests.quant.hf_models import MAMBA2_BASE, randomised

    theirs = randomised(Mamba2ForCausalLM(Mamba2Config(**MAMBA2_BASE | {"state_size": 12})), 3)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    rotated = dataclasses.replace(ours, state_hadamard=True)
    tokens = random_tokens(theirs, batch=1, length=30)
    assert_near(mamba2.sequence(rotated, tokens), logits_of(theirs, tokens))
    states = {}
    for key, model in (("plain", ours), ("rotated", rotated)):

        def tap(name, value, key=key):
            if name == "layers.0.state":
                states[key] = value

        mamba2.sequence(model, tokens, tap)
    expected = states["plain"] @ orthonormal_hadamard(12).T
    torch.testing.assert_close(states["rotated"], expected, rtol=1e-4, atol=1e-5)


def test_norm_before_gate_equals_transformers_with_its_norm_so_changed(pair, monkeypatch):
    theirs, ours = pair("one group")
    ours = dataclasses.replace(ours, config=dataclasses.replace(ours.config, norm_before_gate=True))
    tokens = random_tokens(theirs, batch=2, length=20)
    gate_first = logits_of(theirs, tokens)

    def norm_first(self, y, gate):
        normed = torch.nn.functional.rms_norm(y, y.shape[-1:], self.weight, self.variance_epsilon)
        return normed * torch.nn.functional.silu(gate)

    monkeypatch.setattr(modeling_mamba2.MambaRMSNormGated, "forward", norm_first)
    assert_near(mamba2.sequence(ours, tokens), logits_of(theirs, tokens))
    assert (gate_first - logits_of(theirs, tokens)).abs().max() > 0.1


def test_linears_name_every_matrix_and_the_tap_of_its_input(pair):
    _, ours = pair("tied")
    widths = {}
    mamba2.sequence(ours, torch.tensor([[1, 2]]), lambda n, v: widths.update({n: v.shape[-1]}))
    assert {name: widths[tap] for name, tap in mamba2.linears(ours)} == {
        name: tensor.shape[1]
        for name, tensor in ours.weights.items()
        if tensor.dim() == 2 and "embeddings" not in name
    }


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_heads": 5}, "num_heads 5 \\* head_dim 64 is 320, but hidden_size 24 expands to 48"),
        ({"n_groups": 3}, "n_groups 3 does not divide num_heads 4"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but it must be 'silu' or 'swish'"),
        ({"rms_norm": False}, "rms_norm is False, but it must be True"),
        ({"intermediate_size": 50}, "intermediate_size is 50, but it must be 48"),
        ({"expand": 1.7}, "expand is 1.7, but it must be a number that makes 24 \\* expand whole"),
        ({"state_size": 0}, "state_size is 0, but it must be an integer of at least 1"),
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
        ({"vocab_size": True}, "vocab_size is True"),
        ({"use_bias": 1}, "use_bias is 1, but it must be true or false"),
        ({"layer_norm_epsilon": -1e-5}, "layer_norm_epsilon is -1e-05, but it must be a number"),
        ({"time_step_limit": [0.5, 0.1]}, r"time_step_limit is \[0.5, 0.1\], but it must be two"),
        ({"time_step_limit": 3}, "time_step_limit is 3"),
    ],
)
def test_a_config_that_cannot_be_honoured_is_refused_by_name(values, sentence):
    good = {"hidden_size": 24, "num_heads": 4, "head_dim": 12, "n_groups": 2}
    mamba2.read_config(good)
    if values == {"num_heads": 5}:
        values = values | {"head_dim": 64}
    with pytest.raises(UserError, match=sentence):
        mamba2.read_config(good | values)


def test_the_norm_before_gate_key_is_ignored_as_transformers_ignores_it():
    good = {"hidden_size": 24, "num_heads": 4, "head_dim": 12, "n_groups": 2}
    assert not mamba2.read_config(good | {"norm_before_gate": True}).norm_before_gate


def test_wrong_use_is_one_sentence(pair):
    _, ours = pair("one group")
    state = mamba2.initial_state(ours, 2)
    with pytest.raises(UserError, match="tokens run from 101 to 101, but the vocabulary has 101"):
        mamba2.sequence(ours, torch.tensor([[101]]))
    with pytest.raises(
        UserError, match=r"one step takes tokens of shape \[batch\], but got \[2, 3"
    ):
        mamba2.step(ours, torch.zeros(2, 3, dtype=torch.int64), state)
    with pytest.raises(UserError, match="the state was made for a batch of 2, but tokens have"):
        mamba2.step(ours, torch.zeros(3, dtype=torch.int64), state)
    with pytest.raises(UserError, match="asked to generate 0 tokens"):
        mamba2.generate(ours, torch.tensor([[1]]), 0)
