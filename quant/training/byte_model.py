"""Say what the training loop asks of a model that predicts the next byte."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

State = TypeVar("State")


class ByteModel(nn.Module, ABC):
    """Predict the next byte of a text, under the parameter names of the Hugging Face format."""

    @abstractmethod
    def predict(self, tokens: Tensor) -> Tensor:
        """Return the logits [batch, length, vocabulary] of texts read from their first byte on."""

    @abstractmethod
    def hugging_face_config(self) -> dict[str, object]:
        """Return the `config.json` that makes the family's published code the same model."""


class RecurrentModel(ByteModel, Generic[State]):
    """Predict the next byte from a state that a text leaves, of a family's own kind."""

    @property
    def chunk_bytes(self) -> int:
        """Return what the length of the tokens of `forward` must be a multiple of."""
        return 1

    @abstractmethod
    def forward(self, tokens: Tensor, states: State) -> tuple[Tensor, State]:
        """Return logits [batch, length, vocabulary] and the states after the last token."""

    @abstractmethod
    def empty_states(self, batch: int) -> State:
        """Return the state before the first token of `batch` sequences."""

    def predict(self, tokens: Tensor) -> Tensor:
        """Return the logits [batch, length, vocabulary] of texts read from their first byte on."""
        return self.forward(tokens, self.empty_states(tokens.shape[0]))[0]


class RmsNorm(nn.Module):
    """Divide by the root mean square over the last axis and multiply by a weight."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised values, shape unchanged."""
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon))
