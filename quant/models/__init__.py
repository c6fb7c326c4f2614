"""Hold trained models in float, one module per family, all of one shape: the quantisers' input.

A model is a frozen dataclass: config, weights by name, online rotations. Functions of the same
name in `mamba`, `mamba2`, ... run it; those below find the family in one dict.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from torch import Tensor

from cosim.ir.errors import UserError
from quant.models import bert, bimamba, llama, mamba, mamba2, rwkv4, rwkv5
from quant.models.bert import Bert
from quant.models.bimamba import BiMamba
from quant.models.checkpoint import read_checkpoint
from quant.models.common import Tap
from quant.models.llama import Llama
from quant.models.mamba import Mamba
from quant.models.mamba2 import Mamba2
from quant.models.rwkv4 import Rwkv4
from quant.models.rwkv5 import Rwkv5
from quant.models.stream import Stream
from quant.models.typeseg import load_typeseg

Model: TypeAlias = Mamba | Mamba2 | BiMamba | Llama | Rwkv4 | Rwkv5 | Bert
Causal: TypeAlias = Mamba | Mamba2 | Llama | Rwkv4 | Rwkv5
Config: TypeAlias = (
    mamba.Config
    | mamba2.Config
    | bimamba.Config
    | llama.Config
    | rwkv4.Config
    | rwkv5.Config
    | bert.Config
)

MODULES: Mapping[type, ModuleType] = {
    Mamba: mamba,
    Mamba2: mamba2,
    BiMamba: bimamba,
    Llama: llama,
    Rwkv4: rwkv4,
    Rwkv5: rwkv5,
    Bert: bert,
}
# model_type in config.json: the module that reads such a folder
FOLDERS: Mapping[str, ModuleType] = {
    "mamba": mamba,
    "mamba2": mamba2,
    "llama": llama,
    "mistral": llama,
    "rwkv": rwkv4,
    "rwkv5": rwkv5,
    "bert": bert,
}


def load_model(source: str | Path) -> Model:
    """Load a Hugging Face model folder, or the model of the installed package "typeseg".

    Raises UserError for what is missing, damaged, unsafe to read, or of an unknown model_type.
    """
    if source == "typeseg":
        return load_typeseg()
    checkpoint = read_checkpoint(source)
    kind = checkpoint.config.get("model_type")
    if not isinstance(kind, str) or kind not in FOLDERS:
        raise UserError(
            f"{checkpoint.folder / 'config.json'}: model_type is {kind!r}, but the known ones are"
            f" {', '.join(FOLDERS)} (and the name typeseg, without a folder)."
        )
    model: Model = FOLDERS[kind].read_model(checkpoint)
    return model


def bare_model(config: Config) -> Model:
    """Return a model of a config without any weights, for what asks for names and shapes only."""
    kind = next(k for k, module in MODULES.items() if module.Config is type(config))
    model: Model = kind(config, {})
    return model


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name."""
    shapes: dict[str, tuple[int, ...]] = _module(bare_model(config)).weight_shapes(config)
    return shapes


def stream_of(model: Model) -> Stream:
    """Return who reads and writes the residual of a model."""
    stream: Stream = _module(model).stream(model.config)
    return stream


def sequence(model: Model, tokens: Tensor, tap: Tap | None = None) -> Tensor:
    """Return the logits [b, t, classes or vocabulary] of whole sequences [b, t], int64."""
    logits: Tensor = _module(model).sequence(model, tokens, tap)
    return logits


def linears(model: Model) -> list[tuple[str, str]]:
    """List the weight matrices, each with the name of the tap that sees its input."""
    names: list[tuple[str, str]] = _module(model).linears(model)
    return names


# A family's state is its own: what `step` gives goes back to `step`, nothing else reads it.
def initial_state(model: Causal, batch: int) -> Any:
    """Return the state of a causal model before the first token."""
    return _module(model).initial_state(model, batch)


def step(model: Causal, token: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return a causal model's logits [b, vocabulary] after one token [b], and its next state."""
    logits, after = _module(model).step(model, token, state)
    return logits, after


def generate(model: Causal, prompt: Tensor, count: int) -> Tensor:
    """Return the `count` most likely next tokens [b, count] after the prompt [b, t]."""
    tokens: Tensor = _module(model).generate(model, prompt, count)
    return tokens


def _module(model: Model) -> ModuleType:
    return MODULES[type(model)]
