"""Quantise sentence encoders, and compare the embeddings of the integers with the float ones.

Encoders have recipes of their own: their norms stand behind the residual, so that neither norms can
be folded into it nor can it be rotated. Inputs of linear layers have a scale for each group of 8,
as in the recipes of language models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cosim.ir.errors import InternalError, UserError
from cosim.torch_exec import TorchExecutor
from quant.formats import ActFormat, AttentionFormat
from quant.models.bert import Bert, embedding, sequence
from quant.passes.draft import Draft
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.recipes import ACT_GROUP, ACT_MANTISSA_BITS, WEIGHT_GROUP, Recipe
from quant.weights import WeightFormat

# The longest text that MiniLM is given: sentence_bert_config.json of its package.
CONTEXT = 256


def encoder_recipe(weight_bits: int, act_bits: int, context: int = CONTEXT) -> Recipe:
    """Return a recipe for encoders of texts of up to `context` tokens."""
    group = WEIGHT_GROUP if weight_bits < 8 else 0
    return Recipe(
        f"w{weight_bits}a{act_bits}",
        f"weights {weight_bits} bits, GPTQ; linear inputs {act_bits} bits, dynamic",
        (
            QuantiseWeights(WeightFormat(weight_bits, group), "gptq"),
            LowerGraph(
                ActFormat(act_bits, group=ACT_GROUP, mantissa_bits=ACT_MANTISSA_BITS),
                attention=AttentionFormat(context=context),
            ),
        ),
    )


RECIPES = {r.name: r for r in (encoder_recipe(8, 8), encoder_recipe(4, 8))}


def quantise_encoder(name: str, model: Bert, recipe: Recipe, calibration: Tensor) -> Draft:
    """Return the draft with the integer encoder; calibration tokens [B, T], nothing padded."""
    draft = Draft(name, model)
    with torch.no_grad():
        for step in recipe.passes:
            draft = step.apply(draft, calibration)
    return draft


def float_embeddings(model: Bert, sentences: Sequence[Tensor]) -> Tensor:
    """Return the float embeddings [n, d] of sentences, each run in its own length."""
    return _by_length(sentences, lambda tokens: embedding(sequence(model, tokens)))


def int_embeddings(executor: TorchExecutor, sentences: Sequence[Tensor]) -> Tensor:
    """Return the embeddings [n, d] of an integer encoder, brought to length 1."""

    def embed(tokens: Tensor) -> Tensor:
        sums = executor.run({"token": tokens.numpy()}, count=False).outputs["embedding"]
        return functional.normalize(torch.from_numpy(sums[:, -1]).double(), dim=-1).float()

    return _by_length(sentences, embed)


@dataclass(frozen=True)
class Likeness:
    """Say how near embeddings are to the float ones.

    Mean and least cosine over the sentences; Spearman's rank correlation of the similarities of
    pairs, and their largest difference.
    """

    mean_cosine: float
    least_cosine: float
    rank_correlation: float
    largest_difference: float


def likeness(real: Tensor, other: Tensor, pairs: np.ndarray) -> Likeness:
    """Compare embeddings [n, d] of length 1; `pairs` [p, 2] number the sentences."""
    cosine = (real.double() * other.double()).sum(-1)
    first, second = torch.from_numpy(pairs.astype(np.int64)).unbind(-1)
    near = [(e[first].double() * e[second].double()).sum(-1).numpy() for e in (real, other)]
    return Likeness(
        float(cosine.mean()),
        float(cosine.min()),
        rank_correlation(*near),
        float(np.abs(near[0] - near[1]).max()),
    )


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation; equal values share the mean of their ranks.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([5.0, 9.0, 70.0]))
    1.0
    >>> round(rank_correlation(np.array([1.0, 2.0, 2.0, 3.0]), np.array([4.0, 3.0, 2.0, 1.0])), 6)
    -0.948683
    """
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        raise UserError("rank correlation: give at least two pairs, not all of one similarity")
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(x: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place])


def _by_length(sentences: Sequence[Tensor], embed: Callable[[Tensor], Tensor]) -> Tensor:
    """Run the sentences of each length at once; give the rows back in the order of sentences."""
    lengths = np.array([len(s) for s in sentences])
    found: dict[int, Tensor] = {}
    with torch.no_grad():
        for length in np.unique(lengths):
            places = np.flatnonzero(lengths == length).tolist()
            rows = embed(torch.stack([sentences[p] for p in places]))
            found.update(zip(places, rows, strict=True))
    if len(found) != len(sentences):
        raise InternalError("a sentence was lost")
    return torch.stack([found[k] for k in range(len(sentences))])
