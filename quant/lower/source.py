"""Hold what a lowering reads: config, float tensors, quantised matrices, ranges, formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

from quant.calibrate import Ranges
from quant.formats import ActFormat, AttentionFormat, SsmFormat
from quant.weights import IntWeight

C = TypeVar("C")


# Parts of the names of matrices that read or write the residual, and of those around the values.
RESIDUAL_MATRICES = ("embeddings", "embed_tokens", "in_proj", "out_proj", "lm_head", "qkv_proj",
                     "o_proj", "gate_up_proj", "down_proj")  # fmt: skip
VALUE_MATRICES = ("qkv_proj", "o_proj")


def touches_residual(matrix: str) -> bool:
    """Tell by its name whether a matrix reads or writes the residual."""
    return any(part in matrix for part in RESIDUAL_MATRICES)


@dataclass(frozen=True)
class Source(Generic[C]):
    """Hold one model ready to be lowered; `tensors` is None for a graph from a config alone.

    `shapes` are those of all weights by name, and so say which biases the model has. `head_order`
    is that of the rotation of attention's heads, 0 if there is none.
    """

    config: C
    shapes: Mapping[str, tuple[int, ...]]
    tensors: Mapping[str, Tensor] | None
    matrices: Mapping[str, IntWeight]
    ranges: Ranges
    acts: Mapping[str, ActFormat]
    ssm: SsmFormat
    out_hadamard: bool
    state_hadamard: bool
    basis: str
    head_order: int = 0
    attention: AttentionFormat = AttentionFormat()

    @property
    def has_weights(self) -> bool:
        """Tell whether constants have data."""
        return self.tensors is not None

    def act(self, layer: str) -> ActFormat:
        """Return the input format of a kind of linear layer, such as `in_proj`."""
        return self.acts.get(layer, self.acts["default"])

    def array(self, name: str) -> np.ndarray | None:
        """Return a float tensor as float64, or None where there is none."""
        if self.tensors is None or name not in self.tensors:
            return None
        return self.tensors[name].double().numpy()

    def bias(self, name: str) -> np.ndarray | None:
        """Return a bias as float64, None where the model has none; zeros stand for no data."""
        if name not in self.shapes:
            return None
        return np.zeros(self.shapes[name]) if self.tensors is None else self.array(name)

    def weight_name(self, matrix: str, rotated_by: int = 0) -> str:
        """Name a weight constant after the rotations fused into it.

        `~r` and a label: the residual's basis; `~h` and an order: an online Hadamard before it;
        `~v` and an order: the rotation of attention's values, in v_proj, and back, in o_proj.
        """
        basis = f"~r{self.basis}" if self.basis and touches_residual(matrix) else ""
        online = f"~h{rotated_by}" if rotated_by else ""
        turned = self.head_order and any(k in matrix for k in VALUE_MATRICES)
        values = f"~v{self.head_order}" if turned else ""
        short = matrix.removeprefix("backbone.").removeprefix("model.")
        return short + basis + online + values
