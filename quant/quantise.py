"""Run a recipe: pass after pass, each checked or measured against the model before it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cosim.ir.errors import InternalError
from cosim.ir.model import Model
from cosim.torch_exec import TorchExecutor
from quant.family import FloatModel, refuse_infinite, sequence
from quant.lints import Lint, lint_model
from quant.passes.draft import Draft
from quant.recipes import Recipe

Progress = Callable[[str, int, int], None]
# Float32 rounding of a rotated model; passes that keep the function stay below it.
FUNCTION_TOLERANCE = 2e-3
CHECK_TOKENS = 256


@dataclass(frozen=True)
class Step:
    """Report one pass: the relative change of the logits it made, and its time."""

    name: str
    keeps_function: bool
    error: float
    seconds: float


@dataclass(frozen=True)
class Quantised:
    """Hold the integer model, what each pass did to the function, and the lints."""

    model: Model
    steps: tuple[Step, ...]
    lints: tuple[Lint, ...]
    draft: Draft


def quantise(
    name: str,
    model: FloatModel,
    recipe: Recipe,
    calibration: Tensor,
    progress: Progress | None = None,
) -> Quantised:
    """Turn a float model into an integer one; calibration tokens [B, T] int64.

    Raise InternalError if a pass that should keep the function changes it.
    """
    draft = Draft(name, model)
    check = calibration[:1, :CHECK_TOKENS]
    with torch.no_grad():
        before = sequence(model, check)
    refuse_infinite(model, check, before)
    steps = []
    for k, step in enumerate(recipe.passes):
        if progress is not None:
            progress(step.name, k, len(recipe.passes))
        start = time.perf_counter()
        with torch.no_grad():
            draft = step.apply(draft, calibration)
            after = _logits(draft, check)
        error = relative_error(before, after)
        if step.keeps_function and error > FUNCTION_TOLERANCE:
            raise InternalError(
                f"pass {step.name} must keep the function, but moved the logits by {error:.2e}"
            )
        steps.append(Step(step.name, step.keeps_function, error, time.perf_counter() - start))
        before = after
    if draft.integer is None:
        raise InternalError(f"recipe {recipe.name} never lowers the graph")
    if progress is not None:
        progress("lints", len(recipe.passes), len(recipe.passes))
    return Quantised(draft.integer, tuple(steps), lint_model(draft.integer, check), draft)


def relative_error(reference: Tensor, other: Tensor) -> float:
    """Return the root mean square of the difference over that of the centred reference.

    A reference whose classes are all alike (weights of zeros) counts as one of 1e-12.
    """
    centred = reference - reference.mean(dim=-1, keepdim=True)
    difference = other - reference
    spread = float(centred.double().square().mean().sqrt())
    return float(difference.double().square().mean().sqrt()) / max(spread, 1e-12)


def _logits(draft: Draft, tokens: Tensor) -> Tensor:
    if draft.integer is None:
        return sequence(draft.model, tokens)
    run = TorchExecutor(draft.integer).run({"token": tokens.numpy()}, count=False)
    scale = draft.integer.output_scale("logits")
    if scale is None:
        raise InternalError("the logits of the integer model carry no scale")
    return torch.from_numpy(run.outputs["logits"]).float() * scale
