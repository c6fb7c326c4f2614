"""Say what the training loop asks of a model that predicts the next byte."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class ByteModel(nn.Module, ABC):
    """Predict the next byte of a text, under the parameter names of the Hugging Face format."""

    @abstractmethod
    def predict(self, tokens: Tensor) -> Tensor:
        """Return the logits [batch, length, vocabulary] of texts read from their first byte on."""

    @abstractmethod
    def hugging_face_config(self) -> dict[str, object]:
        """Return the `config.json` that makes transformers' model of the family the same one."""


class RmsNorm(nn.Module):
    """Divide by the root mean square over the last axis and multiply by a weight."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised values, shape unchanged."""
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon))
