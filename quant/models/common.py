"""Compute the float parts that every model family shares: norm, convolution, rotation, taps.

Axes: b batch, t tokens, d channels, k width of the convolution.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from cosim.ir.errors import UserError
from cosim.ops.hadamard import hadamard_matrix

Tap: TypeAlias = Callable[[str, Tensor], Tensor | None]
"""See a value inside a model by name; return a tensor to put in its place, None to keep it."""

Weights: TypeAlias = Mapping[str, Tensor]


def sees_states(tap: Tap | None) -> bool:
    """Tell whether the tap wants the state after every token, which forbids scanning by chunks.

    A tap with an attribute `states` that is False does not.
    """
    return tap is not None and getattr(tap, "states", True)


def visit(tap: Tap | None, name: str, value: Tensor) -> Tensor:
    """Show `value` to the tap, if there is one, and return what the model goes on with."""
    if tap is None:
        return value
    replacement = tap(name, value)
    return value if replacement is None else replacement


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Multiply by `name.weight` [out, in] and add `name.bias` [out] if the model has one."""
    return functional.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def rms_norm(x: Tensor, weight: Tensor, epsilon: float, groups: int = 1) -> Tensor:
    """Divide each of `groups` equal parts of the last axis by its root mean square, then weight.

    >>> rms_norm(torch.tensor([3.0, 4.0, 1.0, 1.0]), torch.ones(4), 0.0, groups=2) ** 2
    tensor([0.7200, 1.2800, 1.0000, 1.0000])
    """
    parts = x.unflatten(-1, (groups, -1))
    parts = parts * torch.rsqrt(parts.square().mean(-1, keepdim=True) + epsilon)
    return parts.flatten(-2) * weight


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Centre the last axis, divide it by its standard deviation, weight it and add the bias."""
    return functional.layer_norm(x, (x.shape[-1],), weight, bias, epsilon)


def depthwise_conv(padded: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Correlate each channel with its own k weights, where the window fits.

    padded [b, t + k - 1, d], weight [d, 1, k], bias [d] -> [b, t, d]; output t sees the inputs
    t .. t + k - 1 of `padded`, the first of them by weight[:, 0, 0].
    """
    width = weight.shape[-1]
    length = padded.shape[1] - width + 1
    total = padded[:, :length] * weight[:, 0, 0]
    for j in range(1, width):
        total = total + padded[:, j : j + length] * weight[:, 0, j]
    return total if bias is None else total + bias


def rotate(x: Tensor) -> Tensor:
    """Multiply the vectors along the last axis, length n, by the orthonormal H: x H^T / sqrt(n).

    Raises UserError where the operator `hadamard` has no matrix of order n.
    """
    return x @ orthonormal_hadamard(x.shape[-1]).to(x).T


@lru_cache(maxsize=8)
def orthonormal_hadamard(order: int) -> Tensor:
    """Return H / sqrt(order), float32 [order, order]; the same H as the integer operator's."""
    return torch.tensor(hadamard_matrix(order), dtype=torch.float32) / math.sqrt(order)


def check_tokens(tokens: Tensor, vocabulary: int) -> None:
    """Raise UserError unless tokens are int64 [b, t], t > 0, each below the vocabulary size."""
    if tokens.dtype != torch.int64 or tokens.dim() != 2:
        raise UserError(
            f"tokens are {tokens.dtype} of shape {list(tokens.shape)}, but the model takes"
            " torch.int64 of shape [batch, time]; convert them first."
        )
    if tokens.numel() == 0:
        raise UserError(f"tokens of shape {list(tokens.shape)} are empty; give at least one.")
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= vocabulary:
        raise UserError(
            f"tokens run from {low} to {high}, but the vocabulary has {vocabulary} entries"
            f" (0 to {vocabulary - 1}); was the text encoded for another model?"
        )
