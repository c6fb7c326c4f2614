"""Score models on text: bits per byte of language models, agreement with float of classifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from torch import Tensor

from cosim.ir.errors import InternalError
from cosim.torch_exec import TorchExecutor
from quant.family import FloatModel, refuse_infinite, sequence

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """Hold a score over `tokens` tokens in windows of `window`.

    `bits_per_token` is the cross-entropy of the next token (language models), `agreement` the
    share of equal arg-max and `kl` the mean divergence from the float model (bits).
    """

    tokens: int
    window: int
    bits_per_token: float | None
    agreement: float | None
    kl: float | None


def windows(tokens: np.ndarray, window: int) -> Tensor:
    """Cut a token array into whole windows [B, window], dropping the rest."""
    count = tokens.size // window
    return torch.from_numpy(tokens[: count * window].reshape(count, window).astype(np.int64))


def float_logits(model: FloatModel, tokens: Tensor) -> Tensor:
    """Return the float logits [B, T, V]; raise UserError if they are not finite."""
    with torch.no_grad():
        logits = sequence(model, tokens)
    refuse_infinite(model, tokens, logits)
    return logits


def int_logits(executor: TorchExecutor, tokens: Tensor) -> Tensor:
    """Return the integer model's logits as real numbers [B, T, V]."""
    scale = executor.model.output_scale("logits")
    if scale is None:
        raise InternalError("the logits of the integer model carry no scale")
    run = executor.run({"token": tokens.numpy()}, count=False)
    return torch.from_numpy(run.outputs["logits"]).double().mul(scale).float()


def next_token_bits(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the cross-entropy [B, T - 1] in bits of each next token."""
    logs = torch.log_softmax(logits[:, :-1].double(), dim=-1)
    return -logs.gather(-1, tokens[:, 1:, None])[..., 0] / log(2)


def divergence(reference: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return (arg-max equal [B, T], KL(reference || other) [B, T] in bits)."""
    p, q = (torch.log_softmax(x.double(), dim=-1) for x in (reference, other))
    kl = (p.exp() * (p - q)).sum(dim=-1) / log(2)
    return reference.argmax(-1) == other.argmax(-1), kl
