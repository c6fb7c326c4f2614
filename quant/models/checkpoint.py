"""Read a Hugging Face model folder: config.json and safetensors, one file or shards; never pickle.

Tensors are read one at a time, when they are asked for, and come out as float32 after a rounding
to the config's dtype, in which transformers would hold them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from quant.models.stored import (
    PICKLES,
    StoredTensors,
    listing,
    read_json,
    read_places,
    refuse_pickles,
)

_ROUNDINGS = {
    "float64": torch.float32,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
# What the families call the table that a tied head shares, and the head.
EMBEDDINGS = (
    "backbone.embeddings.weight",
    "model.embed_tokens.weight",
    "transformer.wte.weight",
    "rwkv.embeddings.weight",
)
HEADS = ("lm_head.weight", "head.weight")


@dataclass(frozen=True)
class Checkpoint:
    """Hold a model folder that was opened: its config, its tensors, and where it lies."""

    config: dict[str, object]
    tensors: StoredTensors
    folder: Path


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """Open a model folder; raise UserError for what is missing, damaged or unsafe to read."""
    folder = Path(folder)
    if folder.is_file():
        raise _refuse_file(folder)
    if not folder.is_dir():
        raise UserError(
            f"There is no model folder {folder}. Give a folder with config.json and *.safetensors."
        )
    config = read_json(folder / "config.json", "the model's configuration")
    return Checkpoint(config, StoredTensors(read_places(folder), _rounding(config)), folder)


def load_weights(
    checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]], tied: bool
) -> dict[str, Tensor]:
    """Read the tensors named in `shapes`; raise UserError unless the folder holds exactly these.

    Where embedding and head are tied, one of them may be missing: both names get the same tensor.
    """
    head = next((name for name in HEADS if name in shapes), HEADS[0])
    embedding = next((name for name in EMBEDDINGS if name in shapes), EMBEDDINGS[0])
    places = checkpoint.tensors.places
    missing = shapes.keys() - places.keys()
    shared = missing & {head, embedding} if tied else set()
    if len(shared) == 1:
        missing -= shared
    if missing:
        raise UserError(
            f"{checkpoint.folder} lacks {listing(missing)}, which its config.json asks for."
            " Check that config and weights belong together, and that no shard was left out."
        )
    unexpected = places.keys() - shapes.keys()
    if unexpected:
        raise UserError(
            f"{checkpoint.folder} holds {listing(unexpected)}, which a model of its config.json"
            " does not have. Check that config and weights belong together."
        )
    for name, place in places.items():
        if place.shape != shapes[name]:
            raise UserError(
                f"{place.file}: {name} has shape {list(place.shape)}, but config.json asks for"
                f" {list(shapes[name])}. Check that config and weights belong together."
            )
    weights = {name: checkpoint.tensors[name] for name in places}
    for name in shared:
        weights[name] = weights[head if name == embedding else embedding]
    return weights


def _refuse_file(path: Path) -> UserError:
    if path.suffix in PICKLES:
        return refuse_pickles([path])
    return UserError(
        f"{path} is a file, but a model is a folder with config.json and *.safetensors;"
        " give the folder."
    )


def _rounding(config: Mapping[str, object]) -> torch.dtype:
    dtype = config.get("dtype") or config.get("torch_dtype") or "float32"
    name = str(dtype).removeprefix("torch.")
    if name == "auto":
        return torch.float32
    if name not in _ROUNDINGS:
        raise UserError(
            f"config.json: dtype is {dtype!r}, but the known ones are {', '.join(_ROUNDINGS)}."
            " Convert the weights to one of them."
        )
    return _ROUNDINGS[name]
