"""Save and load the trained model as a Hugging Face folder."""

import json
import os
from pathlib import Path

from safetensors.torch import load_file, save_file

from quant.models import rwkv5
from quant.training.byte_model import ByteModel
from quant.training.llama import Llama, LlamaShape
from quant.training.model import Mamba2, Mamba2Shape
from quant.training.rwkv5 import Rwkv5


def save_folder(model: ByteModel, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`; an interrupted write leaves the old files."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(model.hugging_face_config(), indent=2) + "\n"
    partial = folder / "config.json.partial"
    partial.write_text(config)
    os.replace(partial, folder / "config.json")
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    partial = folder / "model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    # safetensors creates the file for its owner alone; the folder is to be shipped.
    partial.chmod(0o644)
    os.replace(partial, folder / "model.safetensors")


def load_mamba2(folder: Path) -> Mamba2:
    """Read back a folder that `save_folder` wrote of a Mamba-2."""
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


def load_llama(folder: Path) -> Llama:
    """Read back a folder that `save_folder` wrote of a Llama."""
    config = json.loads((folder / "config.json").read_text())
    model = Llama(
        LlamaShape(
            hidden_size=config["hidden_size"],
            layers=config["num_hidden_layers"],
            query_heads=config["num_attention_heads"],
            key_heads=config["num_key_value_heads"],
            head_dim=config["head_dim"],
            inner_size=config["intermediate_size"],
            vocab_size=config["vocab_size"],
            most_positions=config["max_position_embeddings"],
            window=config.get("sliding_window"),
            theta=config["rope_theta"],
            norm_epsilon=config["rms_norm_eps"],
        )
    )
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


def load_rwkv5(folder: Path) -> Rwkv5:
    """Read back a folder that `save_folder` wrote of an RWKV-5.2."""
    model = Rwkv5(rwkv5.read_config(json.loads((folder / "config.json").read_text())))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()
