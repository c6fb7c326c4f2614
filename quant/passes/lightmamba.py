"""Quantise and lower Mamba-2 as LightMamba's released integer graph; list its recipes.

The release has its weights ready made; how they were rounded is not in it. Here GPTQ rounds them,
as in w4a4, so that the two graphs differ in what is done to activations, not in that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from cosim.ir.model import Model
from quant.calibrate import measure_ranges
from quant.family import FloatModel, with_weights
from quant.formats import ActFormat, SsmFormat
from quant.lower import lightmamba
from quant.lower.lightmamba_ssm import LightFormat
from quant.lower.source import Source
from quant.models.mamba2 import Config
from quant.passes.draft import Draft, Pass, refuse_quantised
from quant.passes.fold_norms import FINAL, HEAD
from quant.passes.quantise_weights import QuantiseWeights, kind_of
from quant.passes.rotate_online import RotateOut
from quant.rotation_check import check_rotations
from quant.weights import WeightFormat

GROUP = 128


@dataclass(frozen=True)
class FoldFinalNorm(Pass):
    """Fold the last norm's weight into the head: both are outside of the released graph."""

    name: ClassVar[str] = "fold_final_norm"
    keeps_function: ClassVar[bool] = True

    def check(self, model: FloatModel) -> None:
        """Raise UserError off Mamba-2."""
        _refuse_others(model.config)

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Fold; raise UserError once matrices are quantised, and off Mamba-2."""
        _refuse_others(draft.model.config)
        refuse_quantised(draft, self.name)
        old = draft.model.weights
        gain = old[f"{FINAL}.weight"]
        new = {
            f"{HEAD}.weight": old[f"{HEAD}.weight"] * gain,
            f"{FINAL}.weight": torch.ones_like(gain),
        }
        return replace(draft, model=with_weights(draft.model, new))


@dataclass(frozen=True)
class RotateWeighted(RotateOut):
    """Rotate out_proj's input online, behind a norm that keeps its weight.

    LightMamba's published algorithm rotates there; in its release the call is commented out.
    """

    needs_folded: ClassVar[bool] = False


@dataclass(frozen=True)
class QuantiseLight(QuantiseWeights):
    """Quantise matrices; what a rotation's shift leaves of 1 / sqrt(n) goes into out_proj."""

    def gain(self, draft: Draft, matrix: str) -> float:
        """Return what the matrix takes over from the online rotation: 2^shift / sqrt(n)."""
        if not draft.model.out_hadamard or kind_of(matrix) != "out_proj":
            return 1.0
        size = draft.model.config.intermediate_size
        return float(2.0 ** lightmamba.hadamard_shift(size) / size**0.5)


@dataclass(frozen=True)
class LowerLightMamba(Pass):
    """Emit the released graph, or one with a defect mended."""

    form: LightFormat = LightFormat()

    name: ClassVar[str] = "lower"
    keeps_function: ClassVar[bool] = False

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Emit the graph; raise UserError unless it is a Mamba-2, its matrices quantised."""
        return replace(draft, integer=self.emit(draft.name, source_of(draft, calibration)))

    def emit(self, name: str, source: Source[Any]) -> Model:
        """Emit the graph of a source, with or without weights; raise UserError off Mamba-2."""
        _refuse_others(source.config)
        integer = lightmamba.lower(name, source, self.form)
        check_rotations(integer)
        return integer


def _refuse_others(config: object) -> None:
    if not isinstance(config, Config):
        raise UserError(
            "lightmamba: the released graph is of Mamba-2; quantise this model with w4a4"
        )


def source_of(draft: Draft, calibration: Tensor) -> Source[Any]:
    """Return what the lowering reads; raise UserError where the draft is not ready for it."""
    model = draft.model
    if not draft.matrices or draft.basis:
        raise UserError(
            "lightmamba: quantise_weights comes first, and the release has no room for a rotated "
            "residual: its norms keep their weights"
        )
    with torch.no_grad():
        ranges = measure_ranges(model, calibration)
    return Source(
        config=model.config,
        shapes={n: tuple(w.shape) for n, w in model.weights.items()},
        tensors=model.weights,
        matrices=draft.matrices,
        ranges=ranges,
        acts={"default": HEAD_ACT},
        ssm=SsmFormat(),
        out_hadamard=model.out_hadamard,
        state_hadamard=False,
        basis="",
    )


HEAD_ACT = ActFormat(8, group=16, mantissa_bits=2)
WEIGHTS = QuantiseLight(
    WeightFormat(4, GROUP, "two_shift"), "gptq", (("lm_head", WeightFormat(8)),)
)
FORMS = {
    "": ("as released", LightFormat(), False),
    "-hadamard": ("with the rotation its release leaves out", LightFormat(), True),
    "-decay": ("released but for a fine decay", LightFormat(fine_decay=True), False),
    "-state": ("released but for a state of 16 bits", LightFormat(state_bits=16), False),
    "-mended": ("fine decay, state of 16 bits, rotation", LightFormat(True, 16), True),
}
# name: (about, passes)
LIGHTMAMBA: dict[str, tuple[str, tuple[Pass, ...]]] = {
    f"lightmamba{suffix}": (
        f"LightMamba's integer graph, {about}; Mamba-2 only",
        (
            FoldFinalNorm(),
            *((RotateWeighted(),) if rotates else ()),
            WEIGHTS,
            LowerLightMamba(form),
        ),
    )
    for suffix, (about, form, rotates) in FORMS.items()
}
