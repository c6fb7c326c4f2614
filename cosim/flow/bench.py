"""Hold the inputs of a run, each loaded when a step first needs it: a reused step needs none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from cosim.flow.folder import RunFolder, digest
from cosim.flow.request import Request
from cosim.flow.score import Scorer
from cosim.flow.sources import TYPESEG, Source, find_source
from cosim.flow.tokens import BYTE_VOCABULARIES, read_tokens
from cosim.ir.errors import UserError
from cosim.ir.file import load_model as load_graph
from cosim.ir.model import Model
from cosim.ops import OPS
from quant.family import FloatModel
from quant.models import load_model
from quant.models.bimamba import BYTE_VALUES, BiMamba
from quant.passes.draft import Pass
from quant.pinned_text import pinned_windows
from quant.recipes import Recipe


@dataclass(frozen=True)
class Split:
    """Hold the tokens that are scored [T], and those that calibrate [B, window]."""

    scored: np.ndarray
    calibration: np.ndarray

    def digest(self) -> str:
        """Return the sha256 over both."""
        return digest([self.scored.tolist(), self.calibration.tolist()])


class Bench:
    """Be the place where the steps of one run work."""

    def __init__(self, request: Request, folder: RunFolder) -> None:
        """Find the model; raise UserError if there is none, or no CUDA where it is asked for."""
        self.request, self.folder = request, folder
        self.source: Source = find_source(request.model)
        self._graphs: dict[str, Model] = {}
        check_device(request.device)

    @cached_property
    def model(self) -> FloatModel:
        """Load the float model."""
        return load_model(self.source.where)

    @cached_property
    def model_digest(self) -> str:
        """Return the sha256 of the model's files."""
        return self.source.digest()

    @cached_property
    def vocabulary(self) -> int:
        """Return how many tokens the model knows."""
        size = self.source.vocabulary()
        if size is not None:
            return size
        if isinstance(self.model, BiMamba):
            return BYTE_VALUES
        return self.model.config.vocab_size

    @cached_property
    def split(self) -> Split:
        """Read the text: its first part is scored, its last part calibrates."""
        ask = self.request
        if self.source.where == TYPESEG and ask.text is None:
            return self._pinned()
        path = Path(ask.text) if ask.text else self.source.text
        other_path = None if ask.text else self.source.calibration
        if ask.calibration:
            other_path = Path(ask.calibration)
        if path is None:
            raise UserError(
                f"model {self.source.name} has no text beside it; give one with --text FILE"
            )
        window = ask.window
        if other_path is not None:
            scored = read_tokens(path, self.vocabulary, window)
            other = read_tokens(other_path, self.vocabulary, window)
        else:
            tokens = read_tokens(path, self.vocabulary, 2 * window)
            count = min(ask.calibration_windows, tokens.size // window // 2)
            scored, other = tokens[: -count * window], tokens[-count * window :]
        count = min(ask.calibration_windows, other.size // window)
        calibration = other[: count * window].reshape(count, window)
        most = max(window, ask.score_tokens // window * window)
        return Split(scored[:most], calibration)

    def _pinned(self) -> Split:
        """Read typeseg's windows out of installed packages."""
        window, count = self.request.window, self.request.calibration_windows
        scored, calibration = (pinned_windows(use).numpy() for use in ("evaluate", "calibrate"))
        if window != scored.shape[1]:
            raise UserError(
                f"typeseg's pinned text comes in windows of {scored.shape[1]} bytes, not {window}; "
                "leave --window out or give a --text"
            )
        most = max(1, self.request.score_tokens // window)
        return Split(scored[:most].reshape(-1), calibration[:count])

    @cached_property
    def calibration(self) -> torch.Tensor:
        """Return the calibration tokens [B, window]."""
        return torch.from_numpy(self.split.calibration)

    @cached_property
    def scorer(self) -> Scorer:
        """Return the scorer of the run's text."""
        are_bytes = self.vocabulary in BYTE_VOCABULARIES
        return Scorer(lambda: self.model, self.split.scored, self.request.window, are_bytes)

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise UserError for a recipe that is not for this model, loading the model if it may."""
        for step in recipe.passes:
            if type(step).check is not Pass.check:
                step.check(self.model)

    def graph_path(self, recipe: str) -> Path:
        """Return the folder of a recipe's graph."""
        return self.folder.path / "graph" / recipe

    def graph(self, recipe: str) -> Model:
        """Load a recipe's graph, its hash checked."""
        if recipe not in self._graphs:
            self._graphs[recipe] = load_graph(self.graph_path(recipe), OPS)
        return self._graphs[recipe]


def check_device(device: str) -> None:
    """Raise UserError for a device that torch does not have, or that holds no values."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device!r} cannot be used ({reason}); give --device cpu") from None
