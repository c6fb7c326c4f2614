"""Put online Hadamard rotations into the graph and their inverses into the weights around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from cosim.ops.hadamard import hadamard_matrix
from quant.family import stream_of, with_weights
from quant.models.llama import Llama
from quant.models.mamba2 import Mamba2
from quant.passes.draft import Draft, Pass, refuse_quantised


@dataclass(frozen=True)
class RotateOut(Pass):
    """Rotate a block's last matrix's input online: W x = (W H^T / sqrt(n)) (H x / sqrt(n)).

    That matrix is out_proj, or down_proj of a transformer.
    """

    name: ClassVar[str] = "rotate_out"
    keeps_function: ClassVar[bool] = True
    needs_folded: ClassVar[bool] = True

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Fuse the inverse into the matrix; raise UserError where the order of passes is wrong."""
        refuse_quantised(draft, self.name)
        model = draft.model
        if self.needs_folded and not draft.folded:
            raise UserError("rotate_out: norm weights do not commute with it; fold_norms first")
        if model.out_hadamard:
            raise UserError("rotate_out: out_proj's input is already rotated")
        new = {}
        for matrix in stream_of(model).turned:
            name = f"{matrix}.weight"
            new[name] = (model.weights[name].double() @ orthonormal(model.weights[name]).T).float()
        return replace(draft, model=with_weights(model, new, out_hadamard=True))


@dataclass(frozen=True)
class RotateHeads(Pass):
    """Rotate attention's heads: queries and keys online, values inside the matrices around them.

    Scores stay: (H q) . (H k) / n = q . k. A mean of values H v is H times the mean, so that v_proj
    takes the rotation and o_proj its inverse. Families without attention stay as they are.
    """

    name: ClassVar[str] = "rotate_heads"
    keeps_function: ClassVar[bool] = True

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Rotate; raise UserError where matrices are quantised or the heads rotated already."""
        refuse_quantised(draft, self.name)
        model = draft.model
        if not isinstance(model, Llama):
            return draft
        if model.key_hadamard:
            raise UserError("rotate_heads: queries and keys are already rotated")
        new = {}
        for value, output, size in stream_of(model).heads:
            h = torch.tensor(hadamard_matrix(size)).double() / size**0.5
            for leaf in ("weight", "bias"):
                name = f"{value}.{leaf}"
                if name in model.weights:
                    rows = model.weights[name].double().unflatten(0, (-1, size))
                    new[name] = torch.einsum("ij,gj...->gi...", h, rows).flatten(0, 1).float()
            columns = model.weights[f"{output}.weight"].double().unflatten(1, (-1, size))
            new[f"{output}.weight"] = (columns @ h.T).flatten(1).float()
        return replace(draft, model=with_weights(model, new, key_hadamard=True))


def orthonormal(weight: Tensor) -> Tensor:
    """Return the orthonormal Hadamard matrix of a weight's inputs, float64."""
    size = weight.shape[1]
    return torch.tensor(hadamard_matrix(size)).double() / size**0.5


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
