"""Hold a model on its way from float to integers, and say what a pass is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from cosim.ir.errors import UserError
from cosim.ir.model import Model
from quant.family import FloatModel
from quant.formats import ActFormat
from quant.weights import IntWeight


@dataclass(frozen=True)
class Draft:
    """Hold the float model as the passes left it, and what they decided.

    `matrices`: quantised weight matrices by name; the float model then carries the values they
    stand for. `acts`: input formats by kind of layer. `basis`: label of the residual's rotation,
    empty if none. `folded`: norm weights are in the following matrices. `integer`: the result.
    """

    name: str
    model: FloatModel
    matrices: Mapping[str, IntWeight] = field(default_factory=dict)
    acts: Mapping[str, ActFormat] = field(default_factory=dict)
    basis: str = ""
    folded: bool = False
    integer: Model | None = None


class Pass:
    """Be the base of passes: frozen dataclasses whose fields are their options."""

    name: ClassVar[str]
    keeps_function: ClassVar[bool]

    def check(self, model: FloatModel) -> None:
        """Raise UserError for a float model that the pass will never take."""

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Return the next draft; `calibration` are tokens [B, T]."""
        raise NotImplementedError


def refuse_quantised(draft: Draft, step: str) -> None:
    """Raise UserError where a pass would change weights whose integers are already chosen."""
    if draft.matrices:
        raise UserError(
            f"{step}: the matrices are quantised already and would keep their old integers; put "
            f"{step} before quantise_weights"
        )
