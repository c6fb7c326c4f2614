"""Fold norm weights and biases into the matrices that read them; centre LayerNorm's residual."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from quant.family import FloatModel, stream_of, with_weights
from quant.models.bert import Bert
from quant.models.bimamba import BiMamba
from quant.models.rwkv import norm as norm_of
from quant.models.rwkv4 import Rwkv4
from quant.models.rwkv5 import Rwkv5
from quant.passes.draft import Draft, Pass, refuse_quantised

HEAD, FINAL = "lm_head", "backbone.norm_f"


@dataclass(frozen=True)
class FoldNorms(Pass):
    """Leave every norm without weight: W diag(w) and bias + W b take their place.

    A LayerNorm's mean is removed from everything that writes the residual instead, so that it
    becomes a root-mean-square norm. RWKV's norms before token shifts keep weight, bias and mean, as
    a gate stands behind the matrices that write the residual; the norm of the embedding goes into
    its rows.
    """

    name: ClassVar[str] = "fold_norms"
    keeps_function: ClassVar[bool] = True

    def check(self, model: FloatModel) -> None:
        """Raise UserError for encoders."""
        if isinstance(model, Bert):
            raise UserError(
                "fold_norms: a BERT is no language model, and its norms stand behind its residual;"
                " quantise it by quant.encoders.quantise_encoder"
            )

    def apply(self, draft: Draft, calibration: Tensor) -> Draft:
        """Fold all norms of the model; raise UserError once matrices are quantised."""
        refuse_quantised(draft, self.name)
        self.check(draft.model)
        model = draft.model
        old, stream = model.weights, stream_of(model)
        new: dict[str, Tensor] = {}
        for norm, matrix in (*stream.readers, *stream.inner):
            gain, weight = old[f"{norm}.weight"], old[f"{matrix}.weight"]
            new[f"{matrix}.weight"] = weight * gain
            new[f"{norm}.weight"] = torch.ones_like(gain)
            if f"{norm}.bias" in old:
                shift = old[f"{norm}.bias"]
                before = old.get(f"{matrix}.bias", 0.0)
                new[f"{matrix}.bias"] = before + weight @ shift
                new[f"{norm}.bias"] = torch.zeros_like(shift)
        if isinstance(model, BiMamba):
            embedding = old["backbone.embeddings.weight"]
            new["backbone.embeddings.weight"] = embedding - embedding.mean(dim=1, keepdim=True)
            for matrix in stream.writers:
                for leaf in ("weight", "bias"):
                    value = new.get(f"{matrix}.{leaf}", old[f"{matrix}.{leaf}"])
                    new[f"{matrix}.{leaf}"] = value - value.mean(dim=0, keepdim=True)
            centred = with_weights(model, weights=new, centered=True)
            return replace(draft, model=centred, folded=True)
        if isinstance(model, Rwkv4 | Rwkv5):
            rows = norm_of(model, "blocks.0.pre_ln", old[f"{stream.embedding}.weight"])
            new[f"{stream.embedding}.weight"] = rows
            return replace(draft, model=with_weights(model, new, embedded=True), folded=True)
        return replace(draft, model=with_weights(model, weights=new), folded=True)
