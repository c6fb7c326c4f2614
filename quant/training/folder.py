"""Save and load the trained model as a Hugging Face folder."""

import json
import os
from pathlib import Path

from safetensors.torch import load_file, save_file

from quant.training.model import Mamba2, Mamba2Shape


def save_folder(model: Mamba2, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`; an interrupted write leaves the old files."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(hugging_face_config(model.shape), indent=2) + "\n"
    partial = folder / "config.json.partial"
    partial.write_text(config)
    os.replace(partial, folder / "config.json")
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    partial = folder / "model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    # safetensors creates the file for its owner alone; the folder is to be shipped.
    partial.chmod(0o644)
    os.replace(partial, folder / "model.safetensors")


def load_folder(folder: Path) -> Mamba2:
    """Read back a folder that `save_folder` wrote."""
    config = json.loads((folder / "config.json").read_text())
    model = Mamba2(
        Mamba2Shape(
            hidden_size=config["hidden_size"],
            layers=config["num_hidden_layers"],
            head_dim=config["head_dim"],
            state_size=config["state_size"],
            conv_kernel=config["conv_kernel"],
            chunk_size=config["chunk_size"],
            vocab_size=config["vocab_size"],
            norm_epsilon=config["layer_norm_epsilon"],
        )
    )
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


def hugging_face_config(shape: Mamba2Shape) -> dict[str, object]:
    """Return the `config.json` that makes transformers' `Mamba2ForCausalLM` the same model."""
    return {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "expand": 2,
        "num_heads": shape.heads,
        "head_dim": shape.head_dim,
        "state_size": shape.state_size,
        "n_groups": 1,
        "conv_kernel": shape.conv_kernel,
        "chunk_size": shape.chunk_size,
        "hidden_act": "silu",
        "layer_norm_epsilon": shape.norm_epsilon,
        "use_bias": False,
        "use_conv_bias": True,
        "rms_norm": True,
        "residual_in_fp32": True,
        "tie_word_embeddings": True,
        # Bytes have no special tokens.
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "torch_dtype": "float32",
    }
