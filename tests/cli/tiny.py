"""A random Mamba-2 of a few thousand weights as a Hugging Face folder."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from quant.models import mamba2

CONFIG = {
    "model_type": "mamba2",
    "vocab_size": 256,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "expand": 2,
    "num_heads": 4,
    "head_dim": 12,
    "state_size": 8,
    "n_groups": 1,
    "conv_kernel": 4,
    "chunk_size": 16,
    "hidden_act": "silu",
    "layer_norm_epsilon": 1e-5,
    "use_bias": False,
    "use_conv_bias": True,
    "rms_norm": True,
    "residual_in_fp32": True,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
}


def tensors(seed: int = 0, **changes) -> dict[str, np.ndarray]:
    """Return random weights of the config's shapes, with time steps and decays of usual size."""
    config = mamba2.read_config({**CONFIG, **changes}, "config.json")
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in mamba2.weight_shapes(config).items():
        values = rng.standard_normal(shape) / np.sqrt(shape[-1])
        if name.endswith(("norm.weight", "norm_f.weight", ".D")):
            values = 1 + 0.1 * rng.standard_normal(shape)
        elif name.endswith("A_log"):
            values = np.log(rng.uniform(1, 16, shape))
        elif name.endswith("dt_bias"):
            values = rng.uniform(-4, -1, shape)
        found[name] = values.astype(np.float32)
    del found["lm_head.weight"]
    return found


def write_model(folder: Path, **changes) -> Path:
    """Write the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    save_file(tensors(**changes), folder / "model.safetensors")
    return folder


def write_text(path: Path, size: int = 600, seed: int = 1) -> Path:
    """Write random bytes of few values as a text."""
    rng = np.random.default_rng(seed)
    path.write_bytes(bytes(rng.choice(list(b"abcdef \n()=:"), size).tolist()))
    return path
