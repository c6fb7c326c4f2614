"""Look at float models of any family, and change their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from quant.models import Model as FloatModel
from quant.models import linears, sequence, stream_of

__all__ = [
    "FloatModel",
    "linears",
    "refuse_infinite",
    "sequence",
    "stream_of",
    "with_weights",
]


def refuse_infinite(model: FloatModel, tokens: Tensor, logits: Tensor) -> None:
    """Raise UserError if logits are NaN or infinite somewhere; it names the first such value."""
    bad = int(logits.numel() - torch.isfinite(logits).sum())
    if not bad:
        return
    first = ["logits"]
    look = _FirstInfinite(first)
    with torch.no_grad():
        sequence(model, tokens, look)
    raise UserError(
        f"the float model gives logits of which {bad:,} of {logits.numel():,} numbers are NaN or"
        f" infinite on this text, and the first such value is {first[-1]}; its weights are far out"
        " of range: training may have diverged, or the files are damaged; export the model again"
    )


class _FirstInfinite:
    """Note the name of the first value that is not finite, before those that are there."""

    states = False

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __call__(self, name: str, value: Tensor) -> None:
        if len(self.names) == 1 and not bool(torch.isfinite(value).all()):
            self.names.append(name)


def with_weights(model: FloatModel, weights: Mapping[str, Tensor], **fields: bool) -> FloatModel:
    """Return the model with some of its weights replaced (by name) and fields changed."""
    return replace(model, weights={**model.weights, **weights}, **fields)  # type: ignore[arg-type]
