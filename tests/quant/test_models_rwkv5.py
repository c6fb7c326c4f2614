"""Our float RWKV-5.2 against published logits, its plain recurrence, and its folder format."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from cosim.ir.errors import UserError
from quant.models import load_model, rwkv5
from quant.models.eagle import scan_by_chunks, scan_by_tokens
from tests.quant.hf_models import assert_near
from tests.quant.random_models import random_model, random_tokens
from tests.rwkv_files import expected_logits, read_rwkv_file

PROMPT = torch.tensor([list(b'"in')])
BASE = {"model_type": "rwkv5", "vocab_size": 53, "hidden_size": 24, "head_size": 6,
        "intermediate_size": 40, "num_hidden_layers": 2}  # fmt: skip


def test_published_logits_are_met():
    model, want = read_rwkv_file("5v2-730K"), expected_logits("5v2-730K")
    assert (rwkv5.sequence(model, PROMPT)[0, -1] - want).abs().max() < 1e-5
    wrong = replace(model, config=replace(model.config, head_size_divisor=8.0))
    assert (rwkv5.sequence(wrong, PROMPT)[0, -1] - want).abs().max() > 0.1


def test_the_sequence_equals_a_plain_loop_of_vectors():
    """One head, one token at a time, written from the paper's equations alone."""
    model = random_model("rwkv5", 3, num_hidden_layers=1, head_size=24)
    tokens = random_tokens(model, 1, 37)
    w = {n.removeprefix("backbone.").removeprefix("blocks.0."): x for n, x in model.weights.items()}

    def norm(x, name, epsilon=1e-5):
        x = (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + epsilon)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    S, u, m, rows = torch.zeros(24, 24), torch.zeros(24), torch.zeros(24), []
    for token in tokens[0]:
        x = norm(w["embeddings.weight"][token], "pre_ln")
        before, u = u, norm(x, "ln1")
        r, k, v, g = (
            w[f"attention.{n}.weight"] @ (before + w[f"attention.time_mix_{n}"] * (u - before))
            for n in ("receptance", "key", "value", "gate")
        )
        y = r @ (torch.diag(w["attention.time_faaaa"][0]) @ torch.outer(k, v) + S)
        S = torch.diag(torch.exp(-torch.exp(w["attention.time_decay"][0]))) @ S + torch.outer(k, v)
        x = x + w["attention.output.weight"] @ (norm(y / 8, "attention.ln_x") * functional.silu(g))
        before, m = m, norm(x, "ln2")
        k, r = (
            w[f"feed_forward.{n}.weight"]
            @ (before + w[f"feed_forward.time_mix_{n}"] * (m - before))
            for n in ("key", "receptance")
        )
        x = x + torch.sigmoid(r) * (w["feed_forward.value.weight"] @ torch.relu(k) ** 2)
        rows.append(w["lm_head.weight"] @ norm(x, "ln_out"))
    assert_near(rwkv5.sequence(model, tokens)[0], torch.stack(rows))


def test_steps_and_cuts_equal_the_sequence():
    model = random_model("rwkv5", 1)
    tokens = random_tokens(model, 2, 71)
    whole = rwkv5.sequence(model, tokens)
    assert_near(rwkv5.sequence(model, tokens, lambda _name, _x: None), whole)
    state, steps = rwkv5.initial_state(model, 2), []
    for t in range(71):
        logits, state = rwkv5.step(model, tokens[:, t], state)
        steps.append(logits)
    assert_near(torch.stack(steps, 1), whole)
    head, after = rwkv5.advance(model, tokens[:, :33], rwkv5.initial_state(model, 2))
    tail, _ = rwkv5.advance(model, tokens[:, 33:], after)
    assert_near(torch.cat([head, tail], 1), whole)
    assert torch.equal(rwkv5.generate(model, tokens[:, :9], 1)[:, 0], whole[:, 8].argmax(-1))


@pytest.mark.parametrize("fastest", [1e-4, 0.5, 3.5, 40.0])
def test_chunks_equal_tokens_for_slow_and_fast_decays(fastest):
    generator = torch.Generator().manual_seed(0)
    r, k, v = (torch.randn(2, 69, 3, 5, generator=generator) for _ in range(3))
    rate = fastest * torch.rand(3, 5, generator=generator)
    rate[0, 0] = fastest
    state = torch.randn(2, 3, 5, 5, generator=generator)
    for ours, plain in zip(
        scan_by_chunks(r, k, v, rate, state), scan_by_tokens(r, k, v, rate, state), strict=True
    ):
        assert (ours - plain).abs().max() < 2e-5 * plain.abs().max()


def folder_of(model, path, **changes):
    stored = {}
    for name, value in model.weights.items():
        name = name.replace("backbone.", "rwkv.").replace("lm_head", "head")
        stored[name] = value[None, None].contiguous() if "time_mix" in name else value
    save_file(stored, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(BASE | changes))
    return path


def test_a_folder_of_published_names_is_read(tmp_path):
    model = random_model("rwkv5", 2)
    read = load_model(folder_of(model, tmp_path))
    assert read.config == model.config
    tokens = random_tokens(model, 1, 9)
    assert torch.equal(rwkv5.sequence(read, tokens), rwkv5.sequence(model, tokens))


def test_every_matrix_is_listed_with_the_tap_of_its_input():
    model, seen = random_model("rwkv5"), {}
    rwkv5.sequence(model, torch.arange(5)[None], lambda name, x: seen.update({name: x}))
    listed = rwkv5.linears(model)
    matrices = {n for n in model.weights if n.endswith(".weight") and seen_as_matrix(model, n)}
    assert {m for m, _ in listed} == matrices
    for matrix, tap in listed:
        assert seen[tap].shape[-1] == model.weights[matrix].shape[1]


def seen_as_matrix(model, name):
    return model.weights[name].dim() == 2 and "embeddings" not in name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head_size": 7}, "head_size 7 does not divide attention_hidden_size 24"),
        ({"model_version": "5_1"}, "model_version is '5_1', but it must be '5_2'"),
        ({"head_size_divisor": 0}, "head_size_divisor is 0"),
    ],
)
def test_what_is_not_implemented_is_refused(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        load_model(folder_of(random_model("rwkv5"), tmp_path, **change))
