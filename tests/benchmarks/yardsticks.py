"""Other people's executions of the two shipped models, each a function from tokens to labels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Tokens [sequences, t] -> the arg-max of the logits [sequences, t].
Label = Callable[[np.ndarray], np.ndarray]
CHUNKS = (1, 2, 4)  # times the model's own chunk of the parallel form: its best is not always 1


@dataclass(frozen=True)
class Contender:
    """Name an execution; `is_ours` tells the integer graphs from what they are measured against."""

    name: str
    label: Label
    is_ours: bool = False


def transformers_contenders(folder: Path) -> list[Contender]:
    """Return transformers' float32 model in its parallel form: no gradients, no cache, no step."""
    from transformers import AutoConfig, Mamba2ForCausalLM

    own = AutoConfig.from_pretrained(folder).chunk_size
    found = []
    for factor in CHUNKS:
        config = AutoConfig.from_pretrained(folder, chunk_size=own * factor)
        model = Mamba2ForCausalLM.from_pretrained(folder, config=config).eval()
        name = f"transformers, float32, chunks of {own * factor}"
        found.append(Contender(name, _transformers_label(model)))
    return found


def _transformers_label(model: Callable[..., object]) -> Label:
    import torch

    def label(tokens: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            run = model(torch.from_numpy(tokens), use_cache=False)
        return run.logits.argmax(-1).numpy()

    return label


def typeseg_contenders() -> list[Contender]:
    """Return typeseg's public call, and the numpy forward pass inside of it; a window at a time.

    The call chooses numpy by typeseg's own switch. It labels the text after the forward pass, and
    returns its labels smoothed: they are not the arg-max, so that only its time is of use.
    """
    os.environ["TYPESEG_BACKEND"] = "numpy"
    import typeseg
    from typeseg import _runtime

    manifest = _runtime._manifest()
    sizes = {k: manifest["mamba"][k] for k in ("n_layers", "d_state", "dt_rank", "d_conv")}
    weights = _runtime._weights(manifest["mamba"]["file"])

    def call(tokens: np.ndarray) -> np.ndarray:
        probabilities = [
            typeseg.precise(bytes(row.tolist()).decode("ascii")).char_probs for row in tokens
        ]
        return np.stack(probabilities).argmax(-1)

    def forward(tokens: np.ndarray) -> np.ndarray:
        rows = [_runtime.mamba_forward(weights, row, **sizes) for row in tokens]
        return np.stack(rows).argmax(-1)

    return [
        Contender("typeseg.precise, numpy backend", call),
        Contender("typeseg numpy forward pass alone", forward),
    ]
