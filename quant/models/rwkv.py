"""Run what RWKV-4 and RWKV-5 share, in float32: blocks, token shift, channel mix, names of files.

Glossary (axes: b batch, t tokens, d hidden_size, f intermediate_size):
    u        LayerNorm(residual)                                         [b, t, d]
    x_m      token shift: mix_m u_t + (1 - mix_m) u_(t-1), before the first token u is 0
    out      time mix of u: each family's own
    K        relu(W_key x_k)^2                                           [b, t, f]
    fed      sigmoid(W_receptance x_r) (W_value K): the channel mix
The embedding goes through a norm of its own; residual adds out, then fed of LayerNorm(residual).
Sources: Peng et al., "RWKV: Reinventing RNNs for the Transformer Era" (2023) and "Eagle and Finch"
(2024). Weights keep the Hugging Face names but for `rwkv.`, which is `backbone.`, and `head`, which
is `lm_head` as in the other families; vectors of mixing are flat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from quant.models.checkpoint import Checkpoint, load_weights
from quant.models.common import Tap, Weights, check_tokens, layer_norm, linear, rotate, visit
from quant.models.stream import Stream

# The published code gives the last norm torch's default, whatever layer_norm_epsilon is.
LAST_EPSILON = 1e-5
TURNED = ("attention.output", "feed_forward.value")


@dataclass(frozen=True)
class LayerState:
    """Hold what one layer remembers: both last inputs of token shifts [b, d], and the mixer's own.

    wkv: RWKV-4 [b, 3, channels] (p, q, o), RWKV-5 [b, heads, head size, head size].
    """

    mixed: Tensor
    fed: Tensor
    wkv: Tensor


State: TypeAlias = tuple[LayerState, ...]
TimeMix: TypeAlias = Callable[[int, Tensor, LayerState, Tap | None], tuple[Tensor, Tensor]]
"""Map (layer, its normed input [b, t, d], state, tap) to (output [b, t, d], next wkv)."""


class Sizes(Protocol):
    """Name the fields of a config that this file reads."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def num_hidden_layers(self) -> int: ...
    @property
    def layer_norm_epsilon(self) -> float: ...


class Rwkv(Protocol):
    """Name what this file reads of a model; the switches are those of `Rwkv4`."""

    @property
    def config(self) -> Sizes: ...
    @property
    def weights(self) -> Weights: ...
    @property
    def out_hadamard(self) -> bool: ...
    @property
    def embedded(self) -> bool: ...


def shared_shapes(config: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights that both families have, by our names."""
    d, f = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {"backbone.embeddings.weight": (config.vocab_size, d)}
    norms = ["backbone.blocks.0.pre_ln", "backbone.ln_out"]
    for i in range(config.num_hidden_layers):
        block = f"backbone.blocks.{i}"
        norms += [f"{block}.ln1", f"{block}.ln2"]
        for name in ("attention.time_mix_key", "attention.time_mix_value"):
            shapes[f"{block}.{name}"] = (d,)
        for part in ("attention", "feed_forward"):
            shapes[f"{block}.{part}.time_mix_receptance"] = (d,)
        shapes[f"{block}.feed_forward.time_mix_key"] = (d,)
        shapes[f"{block}.feed_forward.key.weight"] = (f, d)
        shapes[f"{block}.feed_forward.receptance.weight"] = (d, d)
        shapes[f"{block}.feed_forward.value.weight"] = (d, f)
    for norm in norms:
        shapes |= {f"{norm}.weight": (d,), f"{norm}.bias": (d,)}
    return shapes | {"lm_head.weight": (config.vocab_size, d)}


def read_weights(
    checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]], tied: bool
) -> dict[str, Tensor]:
    """Read the weights of these shapes from a folder in which they have their published names."""
    stored = {stored_name(name): stored_shape(name, shape) for name, shape in shapes.items()}
    found = load_weights(checkpoint, stored, tied)
    return {name: found[stored_name(name)].reshape(shape) for name, shape in shapes.items()}


def stored_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that a weight has in published folders."""
    return (1, 1, *shape) if "time_mix" in name else shape


def stored_name(name: str) -> str:
    """Return the name that a weight has in published folders.

    >>> stored_name("backbone.ln_out.bias"), stored_name("lm_head.weight")
    ('rwkv.ln_out.bias', 'head.weight')
    """
    if name.startswith("lm_head."):
        return name.removeprefix("lm_")
    return name.replace("backbone.", "rwkv.", 1)


def stream(config: Sizes) -> Stream:
    """Return who reads the residual: token shifts, channel by channel, and the head."""
    blocks = [f"backbone.blocks.{i}" for i in range(config.num_hidden_layers)]
    return Stream(
        embedding="backbone.embeddings",
        readers=(("backbone.ln_out", "lm_head"),),
        writers=tuple(f"{b}.{part}" for b in blocks for part in TURNED),
        turned=tuple(f"{b}.{part}" for b in blocks for part in TURNED),
        rotates=False,
    )


def feed_forward_linears(i: int) -> list[tuple[str, str]]:
    """List the weight matrices of a layer's channel mix, each with the tap of its input."""
    part = f"backbone.blocks.{i}.feed_forward"
    return [
        (f"{part}.key.weight", f"layers.{i}.ffn.key_in"),
        (f"{part}.receptance.weight", f"layers.{i}.ffn.receptance_in"),
        (f"{part}.value.weight", f"layers.{i}.ffn.value_in"),
    ]


def run_blocks(
    model: Rwkv, tokens: Tensor, state: State, time_mix: TimeMix, tap: Tap | None
) -> tuple[Tensor, State]:
    """Return the logits [b, t, vocabulary] of tokens [b, t] after `state`, and the next state."""
    weights = model.weights
    check_tokens(tokens, model.config.vocab_size)
    if state[0].mixed.shape[0] != tokens.shape[0]:
        raise UserError(
            f"the state was made for a batch of {state[0].mixed.shape[0]}, but tokens have the"
            f" shape {list(tokens.shape)}; make it by initial_state(model, {tokens.shape[0]})."
        )
    residual = weights["backbone.embeddings.weight"][tokens]
    if not model.embedded:
        residual = norm(model, "blocks.0.pre_ln", residual)
    residual = visit(tap, "embed", residual)
    after = []
    for i, before in enumerate(state):
        at = f"layers.{i}"
        residual = visit(tap, f"{at}.residual", residual)
        u = visit(tap, f"{at}.norm", norm(model, f"blocks.{i}.ln1", residual))
        out, wkv = time_mix(i, u, before, tap)
        residual = visit(tap, f"{at}.middle", residual + visit(tap, f"{at}.out", out))
        m = visit(tap, f"{at}.ffn.norm", norm(model, f"blocks.{i}.ln2", residual))
        fed = visit(tap, f"{at}.ffn.out", channel_mix(model, i, m, before.fed, tap))
        residual = residual + fed
        after.append(LayerState(u[:, -1], m[:, -1], wkv))
    residual = visit(tap, "last_residual", residual)
    final = visit(tap, "final_norm", norm(model, "ln_out", residual))
    return visit(tap, "logits", linear(weights, "lm_head", final)), tuple(after)


def norm(model: Rwkv, name: str, x: Tensor) -> Tensor:
    """Apply a LayerNorm by its name behind `backbone.`."""
    weight, bias = (model.weights[f"backbone.{name}.{leaf}"] for leaf in ("weight", "bias"))
    epsilon = LAST_EPSILON if name == "ln_out" else model.config.layer_norm_epsilon
    return layer_norm(x, weight, bias, epsilon)


def shifted(u: Tensor, last: Tensor) -> Tensor:
    """Return u [b, t, d] one token late, `last` [b, d] first."""
    return torch.cat([last[:, None], u[:, :-1]], dim=1)


def mixed(model: Rwkv, part: str, what: str, u: Tensor, late: Tensor) -> Tensor:
    """Mix u and its late self by a vector of mixing, such as `time_mix_key`."""
    mix = model.weights[f"backbone.{part}.time_mix_{what}"]
    return u * mix + late * (1 - mix)


def channel_mix(model: Rwkv, i: int, m: Tensor, last: Tensor, tap: Tap | None) -> Tensor:
    """Return the channel mix of m [b, t, d]."""
    part, at = f"blocks.{i}.feed_forward", f"layers.{i}.ffn"
    late = shifted(m, last)

    def project(what: str) -> Tensor:
        x = visit(tap, f"{at}.{what}_in", mixed(model, part, what, m, late))
        return visit(tap, f"{at}.{what}", linear(model.weights, f"backbone.{part}.{what}", x))

    squared = visit(tap, f"{at}.squared", torch.relu(project("key")).square())
    value_in = visit(tap, f"{at}.value_in", rotate(squared) if model.out_hadamard else squared)
    value = visit(tap, f"{at}.value", linear(model.weights, f"backbone.{part}.value", value_in))
    return torch.sigmoid(project("receptance")) * value
