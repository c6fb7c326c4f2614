"""Run RWKV-4 language models of the Hugging Face format in float32: tokens in, logits out.

Glossary (see rwkv.py for what the families share; a attention_hidden_size):
    r, k, v   W_m x_m, m = receptance, key, value                        [b, t, a]
    w         -exp(time_decay), negative                                 [a]
    first     time_first, the bonus of the present token                 [a]
    p, q, o   state: p e^o and q e^o are the decayed sums of e^k v and of e^k; o keeps them small
    wkv       (p e^o + e^(first + k) v) / (q e^o + e^(first + k))        [b, t, a]
    out       W_output (sigmoid(r) wkv)
Source: the stable recurrence of the reference code (BlinkDL/RWKV-LM, RWKV-v4/src/model_run.py).
`rescale_every` is ignored: it halves residual and weights alike for float16, so that it changes
nothing but the epsilon of the norms behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.models.causal import greedy, one_token
from quant.models.checkpoint import Checkpoint
from quant.models.common import Tap, Weights, linear, rotate, visit
from quant.models.fields import MOST_LAYERS, Fields
from quant.models.rwkv import (
    LayerState,
    State,
    feed_forward_linears,
    mixed,
    read_weights,
    run_blocks,
    shared_shapes,
    shifted,
    stream,
)

__all__ = [
    "Config", "Rwkv4", "advance", "generate", "initial_state", "linears", "read_config",
    "read_model", "sequence", "step", "stream", "weight_shapes",
]  # fmt: skip

MATRICES = ("key", "value", "receptance")
NOTHING = -1e38  # the exponent of sums of nothing, as in the reference code


@dataclass(frozen=True)
class Config:
    """Hold what decides an RWKV-4's function; names and defaults are those of the file format."""

    vocab_size: int = 50277
    hidden_size: int = 4096
    attention_hidden_size: int = 4096
    intermediate_size: int = 16384
    num_hidden_layers: int = 32
    layer_norm_epsilon: float = 1e-5
    tie_word_embeddings: bool = False


@dataclass(frozen=True)
class Rwkv4:
    """Hold an RWKV-4: config and weights.

    out_hadamard: the inputs of `output` and of the channel mix's `value` are multiplied by the
    orthonormal Hadamard matrices of their sizes. embedded: the embedding has its norm in it.
    """

    config: Config
    weights: Weights
    out_hadamard: bool = False
    embedded: bool = False


def read_config(values: Mapping[str, object], where: str = "config.json") -> Config:
    """Return the config in a config.json's keys; raise UserError for what is not implemented."""
    fields = Fields(values, where)
    hidden_size = fields.integer("hidden_size", 4096)
    return Config(
        vocab_size=fields.integer("vocab_size", 50277),
        hidden_size=hidden_size,
        attention_hidden_size=fields.integer("attention_hidden_size", hidden_size),
        intermediate_size=fields.integer("intermediate_size", 4 * hidden_size),
        num_hidden_layers=fields.integer("num_hidden_layers", 32, most=MOST_LAYERS),
        layer_norm_epsilon=fields.number("layer_norm_epsilon", 1e-5),
        tie_word_embeddings=fields.flag("tie_word_embeddings", False),
    )


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name, the head included even where it is tied."""
    d, a = config.hidden_size, config.attention_hidden_size
    shapes = shared_shapes(config)
    for i in range(config.num_hidden_layers):
        part = f"backbone.blocks.{i}.attention"
        shapes |= {f"{part}.{name}": (a,) for name in ("time_decay", "time_first")}
        shapes |= {f"{part}.{name}.weight": (a, d) for name in MATRICES}
        shapes[f"{part}.output.weight"] = (d, a)
    return shapes


def read_model(checkpoint: Checkpoint) -> Rwkv4:
    """Read the model of an opened folder; raise UserError for what does not fit its config."""
    config = read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    shapes = weight_shapes(config)
    return Rwkv4(config, read_weights(checkpoint, shapes, config.tie_word_embeddings))


def linears(model: Rwkv4) -> list[tuple[str, str]]:
    """List the weight matrices, each with the name of the tap that sees its input."""
    found = []
    for i in range(model.config.num_hidden_layers):
        part = f"backbone.blocks.{i}.attention"
        found += [(f"{part}.{what}.weight", f"layers.{i}.{what}_in") for what in MATRICES]
        found += [(f"{part}.output.weight", f"layers.{i}.out_in"), *feed_forward_linears(i)]
    return [*found, ("lm_head.weight", "final_norm")]


def initial_state(model: Rwkv4, batch: int) -> State:
    """Return the state before the first token."""
    like, config = model.weights["backbone.ln_out.weight"], model.config
    zero = like.new_zeros(batch, config.hidden_size)
    wkv = like.new_zeros(batch, 3, config.attention_hidden_size)
    wkv[:, 2] = NOTHING
    return (LayerState(zero, zero, wkv),) * config.num_hidden_layers


def advance(
    model: Rwkv4, tokens: Tensor, state: State, tap: Tap | None = None
) -> tuple[Tensor, State]:
    """Return the logits [b, t, vocabulary] of tokens [b, t] after `state`, and the next state."""

    def time_mix(i: int, u: Tensor, before: LayerState, tap: Tap | None) -> tuple[Tensor, Tensor]:
        return _time_mix(model, i, u, before, tap)

    return run_blocks(model, tokens, state, time_mix, tap)


def sequence(model: Rwkv4, tokens: Tensor, tap: Tap | None = None) -> Tensor:
    """Return the logits [b, t, vocabulary] of whole token sequences [b, t], int64."""
    return advance(model, tokens, initial_state(model, tokens.shape[0]), tap)[0]


def step(model: Rwkv4, token: Tensor, state: State) -> tuple[Tensor, State]:
    """Return the logits [b, vocabulary] after one token [b], and the next state."""
    return one_token(lambda tokens, before: advance(model, tokens, before), token, state)


def generate(model: Rwkv4, prompt: Tensor, count: int) -> Tensor:
    """Return the `count` most likely next tokens [b, count] after the prompt [b, t]."""
    start = initial_state(model, prompt.shape[0])
    return greedy(lambda tokens, state: advance(model, tokens, state), prompt, start, count)


def _time_mix(
    model: Rwkv4, i: int, u: Tensor, before: LayerState, tap: Tap | None
) -> tuple[Tensor, Tensor]:
    at, part = f"layers.{i}", f"blocks.{i}.attention"
    late = shifted(u, before.mixed)

    def project(what: str) -> Tensor:
        x = visit(tap, f"{at}.{what}_in", mixed(model, part, what, u, late))
        return visit(tap, f"{at}.{what}", linear(model.weights, f"backbone.{part}.{what}", x))

    decay = -torch.exp(model.weights[f"backbone.{part}.time_decay"])
    first = model.weights[f"backbone.{part}.time_first"]
    wkv, after = weighted_mean(project("key"), project("value"), decay, first, before.wkv)
    gate = visit(tap, f"{at}.gate", torch.sigmoid(project("receptance")))
    gated = visit(tap, f"{at}.gated", gate * visit(tap, f"{at}.wkv", wkv))
    out_in = visit(tap, f"{at}.out_in", rotate(gated) if model.out_hadamard else gated)
    return linear(model.weights, f"backbone.{part}.output", out_in), after


def weighted_mean(
    k: Tensor, v: Tensor, decay: Tensor, first: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Return wkv [b, t, a] of keys and values [b, t, a] after a state [b, 3, a], and the next."""
    p, q, o = state.unbind(1)
    means = []
    for t in range(k.shape[1]):
        key, value = k[:, t], v[:, t]
        top = torch.maximum(o, first + key)
        old, new = torch.exp(o - top), torch.exp(first + key - top)
        means.append((old * p + new * value) / (old * q + new))
        top = torch.maximum(o + decay, key)
        old, new = torch.exp(o + decay - top), torch.exp(key - top)
        p, q, o = old * p + new * value, old * q + new, top
    return torch.stack(means, dim=1), torch.stack([p, q, o], dim=1)
