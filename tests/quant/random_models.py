"""Draw random models of every family from their configs, outliers included."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from quant.family import FloatModel
from quant.models import MODULES, bimamba, llama, mamba, mamba2, rwkv4, rwkv5

MAMBA = mamba.Config(
    vocab_size=53, hidden_size=24, intermediate_size=48, state_size=5, num_hidden_layers=2,
    time_step_rank=3,
)  # fmt: skip
MAMBA2 = mamba2.Config(
    vocab_size=53, hidden_size=24, intermediate_size=48, state_size=8, num_hidden_layers=2,
    num_heads=4, head_dim=12, n_groups=1, tie_word_embeddings=True,
)  # fmt: skip
BIMAMBA = bimamba.Config(
    hidden_size=24, intermediate_size=24, state_size=4, time_step_rank=3, num_hidden_layers=2,
    labels=tuple("abcdefg"), layer_norm_epsilon=1e-6,
)  # fmt: skip
RWKV4 = rwkv4.Config(
    vocab_size=53, hidden_size=24, attention_hidden_size=20, intermediate_size=40,
    num_hidden_layers=2,
)  # fmt: skip
RWKV5 = rwkv5.Config(
    vocab_size=53, hidden_size=24, attention_hidden_size=24, intermediate_size=40,
    num_hidden_layers=2, head_size=6,
)  # fmt: skip
LLAMA = llama.Config(
    vocab_size=53, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
    num_attention_heads=6, num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
    tie_word_embeddings=True,
)  # fmt: skip
BASES = {
    "mamba": MAMBA, "mamba2": MAMBA2, "bimamba": BIMAMBA, "rwkv4": RWKV4, "rwkv5": RWKV5,
    "llama": LLAMA,
}  # fmt: skip
MODELS = {
    mamba.Config: mamba.Mamba, mamba2.Config: mamba2.Mamba2, bimamba.Config: bimamba.BiMamba,
    rwkv4.Config: rwkv4.Rwkv4, rwkv5.Config: rwkv5.Rwkv5, llama.Config: llama.Llama,
}  # fmt: skip
NORMS = ("norm.weight", "norm_f.weight", "ln1.weight", "ln2.weight", "ln_x.weight",
         "ln_out.weight", "pre_ln.weight")  # fmt: skip


def random_model(family: str, seed: int = 0, **changes) -> FloatModel:
    """Return a model of a base config with some fields changed; every weight is drawn."""
    config = replace(BASES[family], **changes)
    kind = MODELS[type(config)]
    shapes = MODULES[kind].weight_shapes(config)
    generator = torch.Generator().manual_seed(seed)
    weights = {n: _drawn(n, shape, generator) for n, shape in shapes.items()}
    if getattr(config, "tie_word_embeddings", False):
        embedding = f"{MODULES[kind].stream(config).embedding}.weight"
        weights["lm_head.weight"] = weights[embedding]
    return kind(config, weights)


def _drawn(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "A_log":  # decay rates between 1/2 and 8
        return torch.rand(shape, generator=generator) * np.log(16) - np.log(2)
    if name.endswith(("dt_bias", "dt_proj.bias")):  # steps between 0.003 and 0.3
        step = 0.003 * 100 ** torch.rand(shape, generator=generator)
        return torch.log(torch.expm1(step))
    if leaf == "time_decay":  # decay rates between 1/50 and 2
        return torch.rand(shape, generator=generator) * np.log(100) - np.log(50)
    if leaf.startswith("time_mix"):
        return torch.rand(shape, generator=generator)
    if leaf == "D" or name.endswith(NORMS):
        return 1 + 0.3 * noise
    if leaf == "bias":
        return 0.3 * noise
    if "embed" in name:  # two channels stand out, as in trained residuals
        noise[:, :: shape[1] // 2] *= 8
        return noise
    return noise / shape[-1] ** 0.5


def random_tokens(model: FloatModel, batch: int, length: int, seed: int = 1) -> Tensor:
    """Return tokens [batch, length] of the model's input alphabet."""
    top = 257 if isinstance(model, bimamba.BiMamba) else model.config.vocab_size
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, top, (batch, length), generator=generator)
