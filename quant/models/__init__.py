"""Hold trained models in float, one module per family, all of one shape: the quantisers' input.

A model is a frozen dataclass: config, weights by name, online rotations. Functions of the same
name in `mamba`, `mamba2`, ... run it; those below find the family by the model's type.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from torch import Tensor

from cosim.ir.errors import UserError
from quant.models import bimamba, mamba, mamba2, rwkv4, rwkv5
from quant.models.bimamba import BiMamba
from quant.models.checkpoint import Checkpoint, load_weights, read_checkpoint
from quant.models.common import Tap
from quant.models.mamba import Mamba
from quant.models.mamba2 import Mamba2
from quant.models.rwkv4 import Rwkv4
from quant.models.rwkv5 import Rwkv5
from quant.models.typeseg import load_typeseg

Model: TypeAlias = Mamba | Mamba2 | BiMamba | Rwkv4 | Rwkv5
Causal: TypeAlias = Mamba | Mamba2 | Rwkv4 | Rwkv5

MODULES: dict[type, ModuleType] = {
    Mamba: mamba,
    Mamba2: mamba2,
    BiMamba: bimamba,
    Rwkv4: rwkv4,
    Rwkv5: rwkv5,
}


def load_model(source: str | Path) -> Model:
    """Load a Hugging Face model folder, or the model of the installed package "typeseg".

    Raises UserError for what is missing, damaged, unsafe to read, or of an unknown model_type.
    """
    if source == "typeseg":
        return load_typeseg()
    checkpoint = read_checkpoint(source)
    kind = checkpoint.config.get("model_type")
    if not isinstance(kind, str) or kind not in _FOLDER_READERS:
        raise UserError(
            f"{checkpoint.folder / 'config.json'}: model_type is {kind!r}, but the known ones are"
            f" {', '.join(_FOLDER_READERS)} (and the name typeseg, without a folder)."
        )
    return _FOLDER_READERS[kind](checkpoint)


def sequence(model: Model, tokens: Tensor, tap: Tap | None = None) -> Tensor:
    """Return the logits [b, t, classes or vocabulary] of whole sequences [b, t], int64."""
    logits: Tensor = MODULES[type(model)].sequence(model, tokens, tap)
    return logits


def linears(model: Model) -> list[tuple[str, str]]:
    """List the weight matrices, each with the name of the tap that sees its input."""
    found: list[tuple[str, str]] = MODULES[type(model)].linears(model)
    return found


# A family's state is its own: what `step` gives goes back to `step`, nothing else reads it.
def initial_state(model: Causal, batch: int) -> Any:
    """Return the state of a causal model before the first token."""
    return MODULES[type(model)].initial_state(model, batch)


def step(model: Causal, token: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return a causal model's logits [b, vocabulary] after one token [b], and its next state."""
    logits, after = MODULES[type(model)].step(model, token, state)
    return logits, after


def generate(model: Causal, prompt: Tensor, count: int) -> Tensor:
    """Return the `count` most likely next tokens [b, count] after the prompt [b, t]."""
    found: Tensor = MODULES[type(model)].generate(model, prompt, count)
    return found


def _read_mamba(checkpoint: Checkpoint) -> Mamba:
    config = mamba.read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    shapes = mamba.weight_shapes(config)
    return Mamba(config, load_weights(checkpoint, shapes, config.tie_word_embeddings))


def _read_mamba2(checkpoint: Checkpoint) -> Mamba2:
    config = mamba2.read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    shapes = mamba2.weight_shapes(config)
    return Mamba2(config, load_weights(checkpoint, shapes, config.tie_word_embeddings))


_FOLDER_READERS: dict[str, Callable[[Checkpoint], Model]] = {
    "mamba": _read_mamba,
    "mamba2": _read_mamba2,
    "rwkv": rwkv4.read_model,
    "rwkv5": rwkv5.read_model,
}
