"""Run BERT encoders of the Hugging Face format in float32: tokens in, hidden states out.

Glossary (axes: b batch, t tokens, d hidden size, h heads, e head dim d / h):
    r        LayerNorm(word[token] + position[t] + type[kind])              [b, t, d]
    q, k, v  W_q r, W_k r, W_v r, each with its bias                        [b, h, t, e]
    m        LayerNorm(r + W_o softmax(q k^T / sqrt(e)) v), over the tokens that are no padding
    r        LayerNorm(m + W_out gelu(W_in m)), the next layer's input
    embedding  mean of r over the tokens that are no padding, of length 1
Sources: Devlin et al., "BERT" (2019); Reimers and Gurevych, "Sentence-BERT" (2019) for the mean;
the switches are those of transformers' BertConfig. The norms stand behind the sums, so that the
residual is normalised itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor
from torch.nn import functional

from cosim.ir.errors import UserError
from quant.models.checkpoint import Checkpoint, load_weights
from quant.models.common import Tap, Weights, check_tokens, layer_norm, linear, visit
from quant.models.fields import MOST_LAYERS, Fields
from quant.models.gpt2 import ACTIVATIONS

POOLER = "pooler.dense"


@dataclass(frozen=True)
class Config:
    """Hold what decides a BERT encoder's function; names and defaults are those of the format."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    pooler: bool = True


@dataclass(frozen=True)
class Bert:
    """Hold a BERT encoder: config, and weights by their Hugging Face names.

    out_hadamard: always False; a residual that is itself a norm's result is not rotated.
    """

    config: Config
    weights: Weights
    out_hadamard: bool = False


def read_config(values: Mapping[str, object], where: str = "config.json") -> Config:
    """Return the config in a config.json's keys; raise UserError for what is not implemented."""
    fields = Fields(values, where)
    d, heads = fields.integer("hidden_size", 768), fields.integer("num_attention_heads", 12)
    if d % heads:
        raise fields.refuse("num_attention_heads", f"a divisor of hidden_size {d}")
    fields.require("hidden_act", tuple(ACTIVATIONS), "gelu")
    fields.require("position_embedding_type", ("absolute",), "absolute")
    for key in ("is_decoder", "add_cross_attention"):
        fields.require(key, (False,), False)
    return Config(
        vocab_size=fields.integer("vocab_size", 30522),
        hidden_size=d,
        num_hidden_layers=fields.integer("num_hidden_layers", 12, most=MOST_LAYERS),
        num_attention_heads=heads,
        intermediate_size=fields.integer("intermediate_size", 3072),
        hidden_act=str(values.get("hidden_act") or "gelu"),
        max_position_embeddings=fields.integer("max_position_embeddings", 512),
        type_vocab_size=fields.integer("type_vocab_size", 2),
        layer_norm_eps=fields.number("layer_norm_eps", 1e-12),
    )


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name."""
    d, inner = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, d),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, d),
        "embeddings.token_type_embeddings.weight": (config.type_vocab_size, d),
    }
    norms = ["embeddings.LayerNorm"]
    matrices: dict[str, tuple[int, int]] = {}
    for i in range(config.num_hidden_layers):
        layer = f"encoder.layer.{i}"
        for name in ("query", "key", "value"):
            matrices[f"{layer}.attention.self.{name}"] = (d, d)
        matrices[f"{layer}.attention.output.dense"] = (d, d)
        matrices[f"{layer}.intermediate.dense"] = (inner, d)
        matrices[f"{layer}.output.dense"] = (d, inner)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    if config.pooler:
        matrices[POOLER] = (d, d)
    for norm in norms:
        shapes |= {f"{norm}.weight": (d,), f"{norm}.bias": (d,)}
    for matrix, shape in matrices.items():
        shapes |= {f"{matrix}.weight": shape, f"{matrix}.bias": shape[:1]}
    return shapes


def read_model(checkpoint: Checkpoint) -> Bert:
    """Read the model of an opened folder; raise UserError for what does not fit its config."""
    config = read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    config = replace(config, pooler=f"{POOLER}.weight" in checkpoint.tensors.places)
    return Bert(config, load_weights(checkpoint, weight_shapes(config), tied=False))


def linears(model: Bert) -> list[tuple[str, str]]:
    """List the weight matrices of the layers, each with the name of the tap that sees its input."""
    found = []
    for i in range(model.config.num_hidden_layers):
        layer, at = f"encoder.layer.{i}", f"layers.{i}"
        found += [
            (f"{layer}.attention.self.{n}.weight", f"{at}.residual")
            for n in ("query", "key", "value")
        ]
        found += [
            (f"{layer}.attention.output.dense.weight", f"{at}.attended"),
            (f"{layer}.intermediate.dense.weight", f"{at}.middle"),
            (f"{layer}.output.dense.weight", f"{at}.down_in"),
        ]
    return found


def sequence(
    model: Bert,
    tokens: Tensor,
    tap: Tap | None = None,
    mask: Tensor | None = None,
    kinds: Tensor | None = None,
) -> Tensor:
    """Return the hidden states [b, t, d] of tokens [b, t], int64.

    `mask` [b, t] is 0 for padding, which no token sees (None: there is none); `kinds` [b, t] says
    to which of two texts a token belongs (None: all to the first). Raises UserError for texts past
    the positions of the model, and for a text of nothing but padding.
    """
    config, weights = model.config, model.weights
    check_tokens(tokens, config.vocab_size)
    if tokens.shape[1] > config.max_position_embeddings:
        raise UserError(
            f"the text has {tokens.shape[1]} tokens, but the model was made for"
            f" {config.max_position_embeddings} (max_position_embeddings); cut it."
        )
    seen = torch.ones_like(tokens) if mask is None else mask
    if seen.shape != tokens.shape or not bool(seen.bool().any(dim=1).all()):
        raise UserError(
            f"the mask has shape {list(seen.shape)} beside tokens {list(tokens.shape)}, and must be"
            " of the same, with a token that is no padding in every text."
        )
    hide = torch.where(seen.bool(), 0.0, -inf)[:, None, None]
    types = torch.zeros_like(tokens) if kinds is None else kinds
    check_tokens(types, config.type_vocab_size)
    total = weights["embeddings.word_embeddings.weight"][tokens]
    total = total + weights["embeddings.token_type_embeddings.weight"][types]
    total = total + weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    r = _norm(model, "embeddings.LayerNorm", visit(tap, "embed", total))
    for i in range(config.num_hidden_layers):
        r = visit(tap, f"layers.{i}.residual", r)
        r = _layer(model, i, r, hide, tap)
    return visit(tap, "hidden", r)


def embedding(hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the sentence embeddings [b, d], of length 1: the means over what is no padding."""
    seen = torch.ones(hidden.shape[:2]) if mask is None else mask.to(hidden)
    mean = (hidden * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)
    return functional.normalize(mean, dim=-1)


def pooled(model: Bert, hidden: Tensor) -> Tensor:
    """Return tanh(W r_0 + b) [b, d] of the first token; raise UserError without a pooler."""
    if not model.config.pooler:
        raise UserError(f"the model has no {POOLER}; take the mean of its hidden states instead.")
    return torch.tanh(linear(model.weights, POOLER, hidden[:, 0]))


def _norm(model: Bert, name: str, x: Tensor) -> Tensor:
    weight, bias = (model.weights[f"{name}.{part}"] for part in ("weight", "bias"))
    return layer_norm(x, weight, bias, model.config.layer_norm_eps)


def _layer(model: Bert, i: int, r: Tensor, hide: Tensor, tap: Tap | None) -> Tensor:
    at, layer = f"layers.{i}", f"encoder.layer.{i}"

    def heads(name: str) -> Tensor:
        x = linear(model.weights, f"{layer}.attention.self.{name}", r)
        x = visit(tap, f"{at}.{name}", x)
        return x.unflatten(-1, (model.config.num_attention_heads, -1)).transpose(1, 2)

    q, k, v = heads("query"), heads("key"), heads("value")
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + hide
    attended = (scores.softmax(-1) @ v).transpose(1, 2).flatten(-2)
    attended = visit(tap, f"{at}.attended", attended)
    out = visit(
        tap, f"{at}.out", linear(model.weights, f"{layer}.attention.output.dense", attended)
    )
    first = visit(tap, f"{at}.first_sum", r + out)
    m = visit(tap, f"{at}.middle", _norm(model, f"{layer}.attention.output.LayerNorm", first))
    up = visit(tap, f"{at}.up", linear(model.weights, f"{layer}.intermediate.dense", m))
    down_in = visit(tap, f"{at}.down_in", ACTIVATIONS[model.config.hidden_act](up))
    down = visit(tap, f"{at}.down", linear(model.weights, f"{layer}.output.dense", down_in))
    second = visit(tap, f"{at}.second_sum", m + down)
    return _norm(model, f"{layer}.output.LayerNorm", second)
