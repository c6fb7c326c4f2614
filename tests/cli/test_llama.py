"""A Llama folder through the command line: walk, write, verify; bad configs, one sentence each."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from quant.models import llama
from tests.cli.command import WALK, command
from tests.cli.tiny import write_text

CONFIG = {
    "model_type": "llama", "vocab_size": 256, "hidden_size": 24, "intermediate_size": 40,
    "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
    "max_position_embeddings": 40, "tie_word_embeddings": True, "torch_dtype": "float32",
}  # fmt: skip


def write_model(folder, **changes):
    """Write a random Llama; what `changes` spoils, the weights do not follow."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in llama.weight_shapes(llama.read_config(CONFIG)).items():
        values = rng.standard_normal(shape) / np.sqrt(shape[-1])
        found[name] = (1 + 0.1 * values if "norm" in name else values).astype(np.float32)
    del found["lm_head.weight"]
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    save_file(found, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """Walk once, past several contexts of 40 tokens, with more text to write than fits."""
    folder = tmp_path_factory.mktemp("llama")
    model, text = write_model(folder / "model"), write_text(folder / "text.txt")
    ran = command("walk", model, "--text", text, *WALK, "--verify-tokens", "90", "--prompt", "ab",
                  "--tokens", "200", "-o", folder / "run", "--json")  # fmt: skip
    return folder, ran


def test_a_walk_scores_verifies_and_writes(walked):
    _, ran = walked
    assert ran.status == 0, ran.err
    summary = json.loads(ran.out)
    rows = summary["tables"]["exactness"]["rows"]
    assert rows
    assert all(row["differences"] == 0 and row["tokens"] == 90 for row in rows)
    (sample,) = summary["samples"]
    assert len(sample["text"].encode("utf-8", errors="replace")) >= 39


def test_what_does_not_fit_the_context_is_refused_before_it_runs(walked):
    folder, _ = walked
    ran = command("run", folder / "run/graph/w8a8-rtn", "--prompt", "abc", "--tokens", "39", "-q")
    assert ran.status == 2
    assert "reads at most 40 tokens: after a prompt of 3 it writes at most 38, not 39" in ran.err
    ran = command("run", folder / "run/graph/w8a8-rtn", "--prompt", "abc", "--tokens", "38", "-q")
    assert ran.status == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_key_value_heads": 3}, "num_key_value_heads 3 does not divide num_attention_heads 4"),
        ({"head_dim": None, "num_attention_heads": 5}, "num_attention_heads is 5, but it must be"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window is 0, but it must be an"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "RoPE scaling 'yarn', but only"),
        ({"head_dim": 3}, "head_dim 3 is odd, but RoPE turns pairs of channels"),
    ],
    ids=str,
)
def test_a_bad_config_is_one_sentence(tmp_path, changes, said):
    model, text = write_model(tmp_path / "model", **changes), write_text(tmp_path / "text.txt")
    ran = command("quantize", model, "--text", text, "--recipe", "w8a8",
                  "--window", "32", "-o", tmp_path / "run")  # fmt: skip
    assert ran.status == 2
    assert said in ran.err
    assert not (tmp_path / "run" / "graph").exists()


def test_windows_longer_than_the_context_are_refused(walked, tmp_path):
    folder, _ = walked
    ran = command("quantize", folder / "model", "--text", folder / "text.txt", "--recipe", "w8a8",
                  "--window", "41", "-o", tmp_path / "run", "-q")  # fmt: skip
    assert ran.status == 2
    assert "41 tokens, but the model was made for 40 (max_position_embeddings)" in ran.err
