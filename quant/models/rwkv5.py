"""Run RWKV-5.2 ("Eagle") language models in float32: tokens in, logits out.

Glossary (see rwkv.py for what the families share; h heads, s head size, h s attention_hidden_size):
    r, k, v, g  W_m x_m, m = receptance, key, value, gate                  [b, t, h, s]
    w           exp(-exp(time_decay)), the decay of each key channel       [h, s]
    first       time_faaaa, the bonus of the present token                 [h, s]
    S           state, key by value: S = diag(w) S + k v^T                             [b, h, s, s]
    y           r (diag(first) k v^T + S), S before this token             [b, t, h, s]
    out         W_output (GroupNorm(y / divisor) SiLU(g)), a group per head
Source: Peng et al., "Eagle and Finch" (2024); names and defaults are those of the published folders
(RWKV/rwkv-5-world-1b5, model_type rwkv5). `rescale_every` is ignored, as in rwkv4.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cosim.ir.errors import UserError
from quant.models.causal import greedy, one_token
from quant.models.checkpoint import Checkpoint
from quant.models.common import Tap, Weights, linear, rotate, sees_states, visit
from quant.models.eagle import scan_by_chunks, scan_by_tokens
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
    "Config", "Rwkv5", "advance", "generate", "initial_state", "linears", "read_config",
    "read_model", "sequence", "step", "stream", "weight_shapes",
]  # fmt: skip

MATRICES = ("key", "value", "receptance", "gate")
GROUP_NORM_EPSILON = 1e-5  # torch's default, which the published model code leaves as it is


@dataclass(frozen=True)
class Config:
    """Hold what decides an RWKV-5.2's function; names and defaults are those of the file format."""

    vocab_size: int = 65536
    hidden_size: int = 768
    attention_hidden_size: int = 768
    intermediate_size: int = 2688
    num_hidden_layers: int = 24
    head_size: int = 64
    head_size_divisor: float = 8.0
    layer_norm_epsilon: float = 1e-5
    tie_word_embeddings: bool = False

    def __post_init__(self) -> None:
        """Raise UserError where the sizes do not fit each other."""
        if self.attention_hidden_size % self.head_size:
            raise UserError(
                f"head_size {self.head_size} does not divide attention_hidden_size"
                f" {self.attention_hidden_size}; correct the config so that it does."
            )

    @property
    def heads(self) -> int:
        """Return the number of heads."""
        return self.attention_hidden_size // self.head_size

    @property
    def group_epsilon(self) -> float:
        """Return the epsilon of the group norm of y itself, not of y / divisor."""
        return GROUP_NORM_EPSILON * self.head_size_divisor**2


@dataclass(frozen=True)
class Rwkv5:
    """Hold an RWKV-5.2: config and weights; the switches are those of `Rwkv4`."""

    config: Config
    weights: Weights
    out_hadamard: bool = False
    embedded: bool = False


def read_config(values: Mapping[str, object], where: str = "config.json") -> Config:
    """Return the config in a config.json's keys; raise UserError for what is not implemented.

    `num_attention_heads` has no effect, as in the published code: published files carry the head
    size there.
    """
    fields = Fields(values, where)
    fields.require("model_version", ("5_2",), "5_2")
    hidden_size = fields.integer("hidden_size", 768)
    return Config(
        vocab_size=fields.integer("vocab_size", 65536),
        hidden_size=hidden_size,
        attention_hidden_size=fields.integer("attention_hidden_size", hidden_size),
        intermediate_size=fields.integer("intermediate_size", hidden_size * 7 // 2 // 32 * 32),
        num_hidden_layers=fields.integer("num_hidden_layers", 24, most=MOST_LAYERS),
        head_size=fields.integer("head_size", 64),
        head_size_divisor=fields.number("head_size_divisor", 8.0),
        layer_norm_epsilon=fields.number("layer_norm_epsilon", 1e-5),
        tie_word_embeddings=fields.flag("tie_word_embeddings", False),
    )


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name, the head included even where it is tied."""
    d, a = config.hidden_size, config.attention_hidden_size
    shapes = shared_shapes(config)
    for i in range(config.num_hidden_layers):
        part = f"backbone.blocks.{i}.attention"
        shapes[f"{part}.time_mix_gate"] = (d,)
        for name in ("time_decay", "time_faaaa"):
            shapes[f"{part}.{name}"] = (config.heads, config.head_size)
        shapes |= {f"{part}.{name}.weight": (a, d) for name in MATRICES}
        shapes |= {f"{part}.ln_x.{leaf}": (a,) for leaf in ("weight", "bias")}
        shapes[f"{part}.output.weight"] = (d, a)
    return shapes


def read_model(checkpoint: Checkpoint) -> Rwkv5:
    """Read the model of an opened folder; raise UserError for what does not fit its config."""
    config = read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    shapes = weight_shapes(config)
    return Rwkv5(config, read_weights(checkpoint, shapes, config.tie_word_embeddings))


def linears(model: Rwkv5) -> list[tuple[str, str]]:
    """List the weight matrices, each with the name of the tap that sees its input."""
    found = []
    for i in range(model.config.num_hidden_layers):
        part = f"backbone.blocks.{i}.attention"
        found += [(f"{part}.{what}.weight", f"layers.{i}.{what}_in") for what in MATRICES]
        found += [(f"{part}.output.weight", f"layers.{i}.out_in"), *feed_forward_linears(i)]
    return [*found, ("lm_head.weight", "final_norm")]


def initial_state(model: Rwkv5, batch: int) -> State:
    """Return the all-zero state before the first token."""
    like, config = model.weights["backbone.ln_out.weight"], model.config
    zero = like.new_zeros(batch, config.hidden_size)
    wkv = like.new_zeros(batch, config.heads, config.head_size, config.head_size)
    return (LayerState(zero, zero, wkv),) * config.num_hidden_layers


def advance(
    model: Rwkv5, tokens: Tensor, state: State, tap: Tap | None = None
) -> tuple[Tensor, State]:
    """Return the logits [b, t, vocabulary] of tokens [b, t] after `state`, and the next state."""

    def time_mix(i: int, u: Tensor, before: LayerState, tap: Tap | None) -> tuple[Tensor, Tensor]:
        return _time_mix(model, i, u, before, tap)

    return run_blocks(model, tokens, state, time_mix, tap)


def sequence(model: Rwkv5, tokens: Tensor, tap: Tap | None = None) -> Tensor:
    """Return the logits [b, t, vocabulary] of whole token sequences [b, t], int64."""
    return advance(model, tokens, initial_state(model, tokens.shape[0]), tap)[0]


def step(model: Rwkv5, token: Tensor, state: State) -> tuple[Tensor, State]:
    """Return the logits [b, vocabulary] after one token [b], and the next state."""
    return one_token(lambda tokens, before: advance(model, tokens, before), token, state)


def generate(model: Rwkv5, prompt: Tensor, count: int) -> Tensor:
    """Return the `count` most likely next tokens [b, count] after the prompt [b, t]."""
    start = initial_state(model, prompt.shape[0])
    return greedy(lambda tokens, state: advance(model, tokens, state), prompt, start, count)


def _time_mix(
    model: Rwkv5, i: int, u: Tensor, before: LayerState, tap: Tap | None
) -> tuple[Tensor, Tensor]:
    at, part, config = f"layers.{i}", f"blocks.{i}.attention", model.config
    late = shifted(u, before.mixed)

    def project(what: str) -> Tensor:
        x = visit(tap, f"{at}.{what}_in", mixed(model, part, what, u, late))
        return visit(tap, f"{at}.{what}", linear(model.weights, f"backbone.{part}.{what}", x))

    r, k, v = (
        project(what).unflatten(-1, (config.heads, -1)) for what in ("receptance", "key", "value")
    )
    rate = torch.exp(model.weights[f"backbone.{part}.time_decay"])
    if sees_states(tap) or u.shape[1] == 1:
        y, after = scan_by_tokens(r, k, v, rate, before.wkv, tap, at)
    else:
        y, after = scan_by_chunks(r, k, v, rate, before.wkv)
    y = visit(tap, f"{at}.read", y.flatten(-2)).view_as(y)
    first = model.weights[f"backbone.{part}.time_faaaa"]
    bonus = visit(tap, f"{at}.bonus", (r * first * k).sum(-1))
    y = visit(tap, f"{at}.y", (y + bonus[..., None] * v).flatten(-2))
    grouped = functional.group_norm(
        y.flatten(0, 1),
        config.heads,
        model.weights[f"backbone.{part}.ln_x.weight"],
        model.weights[f"backbone.{part}.ln_x.bias"],
        config.group_epsilon,
    ).view_as(y)
    grouped = visit(tap, f"{at}.group_norm", grouped)
    gate = visit(tap, f"{at}.silu", functional.silu(project("gate")))
    gated = visit(tap, f"{at}.gated", gate * grouped)
    out_in = visit(tap, f"{at}.out_in", rotate(gated) if model.out_hadamard else gated)
    return linear(model.weights, f"backbone.{part}.output", out_in), after
