"""Rotate the residual stream by a random Hadamard matrix, fused into the weights: free at run time.

With Q = diag(signs) H / sqrt(d), the embedding becomes E Q, each matrix that reads the residual
W Q, each that writes it Q^T W. A root-mean-square norm without weight commutes with Q.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from cosim.ops.hadamard import hadamard_matrix
from quant.family import stream_of, with_weights
from quant.passes.draft import Draft, Pass, refuse_quantised


def rotation(size: int, seed: int) -> Tensor:
    """Return the orthogonal matrix Q [size, size] in float64."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1
    return signs[:, None] * torch.tensor(hadamard_matrix(size)).double() / size**0.5


@dataclass(frozen=True)
class RotateResidual(Pass):
    """Fuse the rotation into the embedding and all matrices that read or write the residual."""

    seed: int = 0

    name: ClassVar[str] = "rotate_residual"
    keeps_function: ClassVar[bool] = True

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Rotate, where the family allows it.

        Raises UserError unless norms are folded and matrices not yet quantised.
        """
        refuse_quantised(draft, self.name)
        if not draft.folded:
            raise UserError(
                "rotate_residual: norm weights do not commute with it; fold_norms first"
            )
        if draft.basis:
            raise UserError(f"rotate_residual: the residual is already rotated ({draft.basis})")
        model = draft.model
        stream, size = stream_of(model), model.config.hidden_size
        if not stream.rotates:
            return draft
        q = rotation(size, self.seed)
        new = {}
        embedding = f"{stream.embedding}.weight"
        new[embedding] = (model.weights[embedding].double() @ q).float()
        for _, matrix in stream.readers:
            name = f"{matrix}.weight"
            new[name] = (model.weights[name].double() @ q).float()
        for matrix in stream.writers:
            for leaf in ("weight", "bias"):
                name = f"{matrix}.{leaf}"
                if name in model.weights:
                    new[name] = (q.T @ model.weights[name].double()).float()
        label = f"{size}s{self.seed}"
        return replace(draft, model=with_weights(model, new), basis=label)
