"""Read the bidirectional Mamba that the PyPI package typeseg carries, from the installed package.

The package is not imported: only `typeseg/data/manifest.json` and the `.npz` beside it are read.
"""

import importlib.util
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cosim.ir.errors import UserError
from quant.models.bimamba import BiMamba, Config, weight_shapes

_BLOCK_NAMES = {  # Flax module of a block -> name in the Hugging Face manner
    "LayerNorm_0": "norm",
    "Dense_0": "mixer.in_proj",
    "Conv_0": "mixer.conv1d",
    "Dense_1": "mixer.x_proj",
    "Dense_2": "mixer.dt_proj",
    "Dense_3": "mixer.out_proj",
}
_OUTER_NAMES = {
    "LayerNorm_0": "backbone.norm_f",
    "Dense_0": "lm_head",
    "Embed_0": "backbone.embeddings",
}
_ADVICE = "Reinstall it: pip install 'typeseg>=0.2.7,<0.3'."
_LEAF_NAMES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}


def load_typeseg() -> BiMamba:
    """Return typeseg's Mamba in float32; raise UserError if the package is missing or damaged."""
    folder = _data_folder()
    config, archive = _read_manifest(folder / "manifest.json")
    arrays = _read_arrays(folder / archive)
    shapes = weight_shapes(config)
    weights: dict[str, Tensor] = {}
    for name, array in arrays.items():
        ours = _our_name(name)
        if ours not in shapes:
            raise UserError(
                f"{folder / archive} holds {name}, which its manifest.json has no place for."
                f" {_ADVICE}"
            )
        weights[ours] = torch.from_numpy(_our_layout(name, array))
        if tuple(weights[ours].shape) != shapes[ours]:
            raise UserError(
                f"{folder / archive}: {name} has shape {list(array.shape)}, but manifest.json asks"
                f" for {list(shapes[ours])} as {ours}. {_ADVICE}"
            )
    missing = sorted(set(shapes) - set(weights))
    if missing:
        raise UserError(f"{folder / archive} lacks {', '.join(missing)}. {_ADVICE}")
    return BiMamba(config, weights)


def _data_folder() -> Path:
    spec = importlib.util.find_spec("typeseg")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "The model 'typeseg' is read from the Python package of that name, which is not"
            " installed here. Install it: pip install 'typeseg>=0.2.7,<0.3'."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_manifest(path: Path) -> tuple[Config, str]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        sizes = manifest["mamba"]
        labels = tuple(str(label) for label in manifest["labels"])
        config = Config(
            state_size=int(sizes["d_state"]),
            time_step_rank=int(sizes["dt_rank"]),
            conv_kernel=int(sizes["d_conv"]),
            num_hidden_layers=int(sizes["n_layers"]),
            labels=labels,
        )
        return config, str(sizes["file"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read as typeseg's manifest ({error!r}). {_ADVICE}"
        ) from None


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name], np.float32) for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as an npz archive ({error}). {_ADVICE}") from None


def _our_name(name: str) -> str:
    """Translate an archive name.

    >>> _our_name("CheckpointMambaBlock1D_3__Dense_1__kernel")
    'backbone.layers.3.mixer.x_proj.weight'
    >>> _our_name("CheckpointMambaBlock1D_0__A_log"), _our_name("Embed_0__embedding")
    ('backbone.layers.0.mixer.A_log', 'backbone.embeddings.weight')
    """
    head, *tail = name.split("__")
    if not head.startswith("CheckpointMambaBlock1D_"):
        leaves = [_LEAF_NAMES.get(leaf, leaf) for leaf in tail]
        return ".".join([_OUTER_NAMES.get(head, head), *leaves])
    layer = f"backbone.layers.{head.rsplit('_', 1)[1]}"
    if len(tail) == 1:
        return f"{layer}.mixer.{tail[0]}"
    return f"{layer}.{_BLOCK_NAMES.get(tail[0], tail[0])}.{_LEAF_NAMES.get(tail[1], tail[1])}"


def _our_layout(name: str, array: np.ndarray) -> np.ndarray:
    """Turn Flax layouts round: dense [in, out] -> [out, in], conv [k, 1, d] -> [d, 1, k]."""
    if not name.endswith("__kernel"):
        return array
    return np.ascontiguousarray(array.T)
