"""Warn about an integer model: decay, state, saturation, headroom, and what is not integer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from quant.passes.draft import Draft


@dataclass(frozen=True)
class Lint:
    """Say one thing that a designer should know: kind, place, value, limit, sentence."""

    kind: str
    where: str
    value: float
    limit: float
    sentence: str


def lint_model(draft: Draft, tokens: Tensor) -> tuple[Lint, ...]:
    """Return all lints of the draft's integer model on some tokens [1, T]."""
    return ()
