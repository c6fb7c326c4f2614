"""Put online Hadamard rotations into the graph and their inverses into the weights around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from cosim.ops.hadamard import hadamard_matrix
from quant.family import with_weights
from quant.models.mamba2 import Mamba2
from quant.passes.draft import Draft, Pass, refuse_quantised
from quant.passes.fold_norms import residual_writers


@dataclass(frozen=True)
class RotateOut(Pass):
    """Rotate the input of out_proj online: W x = (W H^T / sqrt(n)) (H x / sqrt(n))."""

    name: ClassVar[str] = "rotate_out"
    keeps_function: ClassVar[bool] = True
    needs_folded: ClassVar[bool] = True

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Fuse the inverse into out_proj; raise UserError where the order of passes is wrong."""
        refuse_quantised(draft, self.name)
        model = draft.model
        if self.needs_folded and not draft.folded:
            raise UserError("rotate_out: norm weights do not commute with it; fold_norms first")
        if model.out_hadamard:
            raise UserError("rotate_out: out_proj's input is already rotated")
        size = model.config.intermediate_size
        h = torch.tensor(hadamard_matrix(size)).double() / size**0.5
        new = {}
        for matrix in residual_writers(model.config.num_hidden_layers):
            name = f"{matrix}.weight"
            new[name] = (model.weights[name].double() @ h.T).float()
        return replace(draft, model=with_weights(model, new, out_hadamard=True))


@dataclass(frozen=True)
class RotateState(Pass):
    """Rotate B and C along the state axis online; Mamba-2's scalar decay leaves C.B unchanged."""

    name: ClassVar[str] = "rotate_state"
    keeps_function: ClassVar[bool] = True

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Mark the model; raise UserError where the decay differs along the state axis."""
        model = draft.model
        if not isinstance(model, Mamba2):
            raise UserError(
                "rotate_state: only Mamba-2 has one decay per head; in Mamba-1 each state element "
                "decays by itself and a rotation would change the result"
            )
        if model.state_hadamard:
            raise UserError("rotate_state: B and C are already rotated")
        n = model.config.state_size
        if n & (n - 1):
            raise UserError(
                f"rotate_state: state size {n} is not a power of two, so that the "
                "rotation's gain is no shift"
            )
        return replace(draft, model=with_weights(model, {}, state_hadamard=True))
