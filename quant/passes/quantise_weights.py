"""Quantise every weight matrix: choose integer scales, then round to nearest or by GPTQ/Qronos."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from quant.brevitas_bridge import round_weights
from quant.calibrate import collect_inputs
from quant.family import FloatModel, linears, stream_of, with_weights
from quant.models.bimamba import BiMamba
from quant.models.mamba import Mamba
from quant.passes.draft import Draft, Pass
from quant.weights import WeightFormat, quantise_matrix

Rounding = Literal["nearest", "gptq", "qronos"]
# Of calibration inputs that GPTQ and Qronos see: whole windows, evenly spaced over all of them.
MOST_ROWS = 10240


def kind_of(matrix: str) -> str:
    """Return the kind of layer of a weight's name, such as `in_proj`."""
    return matrix.removesuffix(".weight").rsplit(".", 1)[-1]


@dataclass(frozen=True)
class QuantiseWeights(Pass):
    """Quantise matrices by `default`, or by the format given for their kind of layer.

    `channel_group`: columns that share a multiplier in models with a state per channel (Mamba-1
    and its bidirectional sister), where no norm evens out what the scan gives; None: as elsewhere.
    """

    default: WeightFormat
    rounding: Rounding = "nearest"
    kinds: tuple[tuple[str, WeightFormat], ...] = field(default=())
    channel_group: int | None = None

    name: ClassVar[str] = "quantise_weights"
    keeps_function: ClassVar[bool] = False

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Quantise layer by layer; later layers see the inputs that earlier ones now give."""
        model, matrices = draft.model, dict(draft.matrices)
        seen = spread(calibration, MOST_ROWS)
        for matrix, tap in linears(model):
            fmt = self.format_of(model, matrix)
            gain = self.gain(draft, matrix)
            weight = model.weights[matrix] * gain
            done = quantise_matrix(weight, fmt)
            if self.rounding != "nearest":
                now = collect_inputs(model, seen, {tap})[tap][:MOST_ROWS]
                float_inputs = now
                if self.rounding == "qronos":
                    float_inputs = collect_inputs(draft.model, seen, {tap})[tap][:MOST_ROWS]
                codes = round_weights(
                    weight, done.scales(), fmt.bits, float_inputs / gain, self.rounding, now / gain
                )
                done = replace(done, codes=codes.numpy().astype(np.int8))
            matrices[matrix] = done
            model = with_weights(model, {matrix: done.real() / gain})
        return replace(draft, model=model, matrices=matrices)

    def format_of(self, model: FloatModel, matrix: str) -> WeightFormat:
        """Return the format of one of a model's matrices."""
        fmt = dict(self.kinds).get(kind_of(matrix), self.default)
        if self.channel_group is None or not isinstance(model, Mamba | BiMamba):
            return fmt
        return replace(fmt, group=self.channel_group)

    def gain(self, draft: Draft, matrix: str) -> float:
        """Return what the matrix takes over from what stands online before it."""
        return online_gain(draft, matrix)


def spread(tokens: Tensor, most: int) -> Tensor:
    """Return every k-th window of tokens [B, T], the least k with which `most` tokens suffice.

    The first windows alone would be of one kind where a calibration text is sorted by kind.
    """
    return tokens[:: max(1, -(-tokens.numel() // most))]


def online_gain(draft: Draft, matrix: str) -> float:
    """Return what the matrix takes over from an unnormalised online rotation: 1 / sqrt(n)."""
    model = draft.model
    if model.out_hadamard and matrix.removesuffix(".weight") in stream_of(model).turned:
        return float(model.weights[matrix].shape[1]) ** -0.5
    return 1.0
