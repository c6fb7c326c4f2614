"""Run a causal language model of mixer blocks: embedding, blocks, norm, head; whole or by steps.

residual = embedding[token]; each block adds mixer(RMSNorm(residual)); logits = head(RMSNorm(...)).
A family supplies its mixer; a State is all that passes from one token to the next.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from cosim.ir.errors import UserError
from quant.models.common import Tap, Weights, check_tokens, linear, rms_norm, visit


@dataclass(frozen=True)
class LayerState:
    """Hold what one layer remembers.

    conv: the last k - 1 inputs of the convolution [batch, k - 1, channels], oldest first.
    ssm: Mamba [batch, channels, state], Mamba-2 [batch, heads, head dim, state].
    """

    conv: Tensor
    ssm: Tensor


State: TypeAlias = tuple[LayerState, ...]

Mixer: TypeAlias = Callable[[int, Tensor, LayerState, Tap | None], tuple[Tensor, LayerState]]
"""Map (layer, its normed input [b, t, d], state, tap) to (output [b, t, d], next state)."""

S = TypeVar("S")
Advance: TypeAlias = Callable[[Tensor, S], tuple[Tensor, S]]
"""Map (tokens [b, t], a family's state) to (logits [b, t, vocabulary], next state)."""


def run_layers(
    weights: Weights, epsilon: float, tokens: Tensor, state: State, mixer: Mixer, tap: Tap | None
) -> tuple[Tensor, State]:
    """Return the logits [b, t, vocabulary] of tokens [b, t] after `state`, and the next state."""
    embedding = weights["backbone.embeddings.weight"]
    check_tokens(tokens, embedding.shape[0])
    if state[0].ssm.shape[0] != tokens.shape[0]:
        raise UserError(
            f"the state was made for a batch of {state[0].ssm.shape[0]}, but tokens have the shape"
            f" {list(tokens.shape)}; make it by initial_state(model, {tokens.shape[0]})."
        )
    residual = visit(tap, "embed", embedding[tokens])
    after = []
    for i, before in enumerate(state):
        residual = visit(tap, f"layers.{i}.residual", residual)
        u = rms_norm(residual, weights[f"backbone.layers.{i}.norm.weight"], epsilon)
        out, layer = mixer(i, visit(tap, f"layers.{i}.norm", u), before, tap)
        residual = residual + out
        after.append(layer)
    final = rms_norm(residual, weights["backbone.norm_f.weight"], epsilon)
    final = visit(tap, "final_norm", final)
    return visit(tap, "logits", linear(weights, "lm_head", final)), tuple(after)


def one_token(advance: Advance[S], token: Tensor, state: S) -> tuple[Tensor, S]:
    """Return the logits [b, vocabulary] after one token [b], and the next state."""
    if token.dim() != 1:
        raise UserError(
            f"one step takes tokens of shape [batch], but got {list(token.shape)}; whole sequences"
            " [batch, time] go through sequence()."
        )
    logits, state = advance(token[:, None], state)
    return logits[:, 0], state


def greedy(advance: Advance[S], prompt: Tensor, state: S, count: int) -> Tensor:
    """Return `count` tokens [b, count] after the prompt [b, t], each time the most likely one."""
    if count < 1:
        raise UserError(f"asked to generate {count} tokens; ask for at least one.")
    logits, state = advance(prompt, state)
    found = [logits[:, -1].argmax(-1)]
    while len(found) < count:
        logits, state = one_token(advance, found[-1], state)
        found.append(logits.argmax(-1))
    return torch.stack(found, dim=1)
