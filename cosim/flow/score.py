"""Score the float model and its integer graphs on the same windows of text."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cosim.flow.progress import Progress
from cosim.ir.model import Model
from cosim.torch_exec import TorchExecutor
from quant.evaluate import divergence, float_logits, int_logits, next_token_bits, windows
from quant.family import FloatModel
from quant.models.bimamba import BiMamba
from reports.accuracy import FLOAT, Accuracy

TOKENS_AT_ONCE = 4096


class Scorer:
    """Hold the windows and the float model's logits on them, computed once and only if needed."""

    def __init__(
        self, model: Callable[[], FloatModel], tokens: np.ndarray, window: int, are_bytes: bool
    ) -> None:
        """Cut the tokens [T] into whole windows; `model` loads the float model."""
        self.model, self.window, self.are_bytes = model, window, are_bytes
        self.parts: list[Tensor] = list(
            windows(tokens, window).split(max(1, TOKENS_AT_ONCE // window))
        )
        self._logits: list[Tensor] = []

    @property
    def tokens(self) -> int:
        """Return how many tokens are scored."""
        return sum(part.numel() for part in self.parts)

    def float_logits(self, progress: Progress) -> list[Tensor]:
        """Return the float logits of each part."""
        while len(self._logits) < len(self.parts):
            self._logits.append(float_logits(self.model(), self.parts[len(self._logits)]))
            progress.advance(len(self._logits), len(self.parts))
        return self._logits

    def score_float(self, progress: Progress) -> Accuracy:
        """Score the float model."""
        started = time.perf_counter()
        logits = self.float_logits(progress)
        seconds = time.perf_counter() - started
        if isinstance(self.model(), BiMamba):
            return Accuracy(FLOAT, self.tokens, agreement=1.0, kl_bits=0.0, seconds=seconds)
        bits = [next_token_bits(x, part) for x, part in zip(logits, self.parts, strict=True)]
        return Accuracy(FLOAT, self.tokens, _mean(bits), seconds=seconds, are_bytes=self.are_bytes)

    def score_graph(self, recipe: str, model: Model, device: str, progress: Progress) -> Accuracy:
        """Score an integer graph, and set it against the float model."""
        reference = self.float_logits(progress)
        labels = isinstance(self.model(), BiMamba)
        executor = TorchExecutor(model, device)
        seconds, bits, equal, kl = 0.0, [], [], []
        for k, (logits, part) in enumerate(zip(reference, self.parts, strict=True), 1):
            started = time.perf_counter()
            got = int_logits(executor, part)
            seconds += time.perf_counter() - started
            same, divergences = divergence(logits, got)
            if not labels:
                bits.append(next_token_bits(got, part))
            equal.append(same.double())
            kl.append(divergences)
            progress.advance(k, len(self.parts))
        return Accuracy(
            recipe,
            self.tokens,
            bits_per_token=None if labels else _mean(bits),
            agreement=_mean(equal),
            kl_bits=_mean(kl),
            seconds=seconds,
            are_bytes=self.are_bytes,
        )


def _mean(parts: list[Tensor]) -> float:
    return float(torch.cat([part.flatten() for part in parts]).mean())
