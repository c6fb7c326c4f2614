"""Read the rwkv.cpp files among the outside golden data: little-endian, float32."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from quant.models import rwkv4, rwkv5

HERE = Path(__file__).resolve().parents[1]
NAMES = {
    "att": "attention", "ffn": "feed_forward", "ln0": "pre_ln", "time_mix_k": "time_mix_key",
    "time_mix_v": "time_mix_value", "time_mix_r": "time_mix_receptance",
    "time_mix_g": "time_mix_gate", "head": "lm_head",
}  # fmt: skip


def golden(name: str) -> Path:
    """Return a file of the outside data; skip the test where it is absent."""
    folder = Path(os.environ.get("COSIM_GOLDEN", HERE.parent / "shared" / "data")) / "rwkv"
    if not (folder / name).is_file():
        folder = HERE.parents[1] / "shared" / "data" / "rwkv"  # a work tree lies one deeper
    if not (folder / name).is_file():
        pytest.skip(f"outside data {name} is absent: set COSIM_GOLDEN to the folder that has it")
    return folder / name


def expected_logits(version: str) -> torch.Tensor:
    """Return the published logits [256] after the prompt."""
    return torch.from_numpy(np.fromfile(golden(f"expected-logits-{version}.bin"), dtype="<f4"))


def read_rwkv_file(version: str) -> rwkv4.Rwkv4 | rwkv5.Rwkv5:
    """Return the model of a file such as 4v0-660K or 5v2-730K."""
    raw = golden(f"tiny-rwkv-{version}-FP32.bin").read_bytes()
    _, _, vocabulary, d, layers, _ = struct.unpack_from("<6i", raw)
    weights, at = {}, 24
    while at < len(raw):
        rank, length, kind = struct.unpack_from("<3i", raw, at)
        shape = struct.unpack_from(f"<{rank}i", raw, at + 12)[::-1]
        at += 12 + 4 * rank
        key = raw[at : at + length].decode()
        assert kind == 0, "not float32"
        values = np.frombuffer(raw, "<f4", int(np.prod(shape)), at + length)
        at += length + values.nbytes
        weights[_our_name(key)] = torch.from_numpy(values.reshape(shape).astype(np.float64))
    # The files hold what the decays come to: v4 -exp(time_decay), v5 exp(-exp(time_decay)).
    for name in (n for n in weights if "time_decay" in n):
        stored = weights[name]
        weights[name] = torch.log(-stored if version.startswith("4") else -torch.log(stored))
    weights = {name: value.float() for name, value in weights.items()}
    f = weights["backbone.blocks.0.feed_forward.key.weight"].shape[0]
    sizes = {
        "vocab_size": vocabulary, "hidden_size": d, "attention_hidden_size": d,
        "intermediate_size": f, "num_hidden_layers": layers,
    }  # fmt: skip
    if version.startswith("4"):
        config = rwkv4.Config(**sizes)
        return rwkv4.Rwkv4(config, _shaped(weights, rwkv4.weight_shapes(config)))
    s = weights["backbone.blocks.0.attention.time_decay"].shape[1]
    # rwkv.cpp's RWKV-5 does not divide before the group norm, whose epsilon is 1e-5.
    five = rwkv5.Config(**sizes, head_size=s, head_size_divisor=1.0)
    return rwkv5.Rwkv5(five, _shaped(weights, rwkv5.weight_shapes(five)))


def _shaped(weights, shapes):
    assert weights.keys() == shapes.keys()
    return {name: weights[name].reshape(shape) for name, shape in shapes.items()}


def _our_name(key: str) -> str:
    parts = [NAMES.get(part, part) for part in key.split(".")]
    if parts[0] == "emb":
        parts[0] = "embeddings"
    return ".".join(parts if parts[0] == "lm_head" else ["backbone", *parts])
