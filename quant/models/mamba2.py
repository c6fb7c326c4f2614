"""Run Mamba-2 language models of the Hugging Face format in float32: tokens in, logits out.

Glossary (axes: b batch, t tokens, h heads, p head dim, g groups, n state, d_inner = h p):
    u           RMSNorm(residual) * weight                                      [b, t, d]
    z, xBC, dt  W_in u, split in this order: d_inner, d_inner + 2 g n, h
    xBC         SiLU(causal depthwise convolution), split into x, B, C: d_inner, g n, g n
    dt          clamp(softplus(dt + dt_bias), time_step_limit)                  [b, t, h]
    v           dt exp(A_log); the state decays by exp(-v)                      [b, t, h]
    S           S = exp(-v) S + dt x B^T                                        [b, h, p, n]
    y           S C + D x
    gated_norm  RMSNorm(y SiLU(z)) * weight, over each of g parts of d_inner
    out         W_out gated_norm
Source: Dao and Gu, "Transformers are SSMs" (2024); the switches are transformers' Mamba2Config.
One difference from transformers 5.23, on purpose: its single-token step forgets time_step_limit,
which its whole-sequence form honours. Here both clamp.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor
from torch.nn import functional

from cosim.ir.errors import UserError
from quant.models.causal import LayerState, State, greedy, one_token, run_layers
from quant.models.checkpoint import Checkpoint, load_weights
from quant.models.common import (
    Tap,
    Weights,
    depthwise_conv,
    linear,
    rms_norm,
    rotate,
    sees_states,
    visit,
)
from quant.models.fields import MOST_LAYERS, Fields, require_silu
from quant.models.ssd import LONGEST_CHUNK, scan_by_chunks, scan_by_tokens
from quant.models.stream import Stream, mixer_stream


@dataclass(frozen=True)
class Config:
    """Hold what decides a Mamba-2's function; names and defaults are those of the file format."""

    vocab_size: int = 32768
    hidden_size: int = 4096
    intermediate_size: int = 8192
    state_size: int = 128
    num_hidden_layers: int = 64
    num_heads: int = 128
    head_dim: int = 64
    n_groups: int = 8
    conv_kernel: int = 4
    use_bias: bool = False
    use_conv_bias: bool = True
    layer_norm_epsilon: float = 1e-5
    time_step_limit: tuple[float, float] = (0.0, inf)
    tie_word_embeddings: bool = False
    chunk_size: int = 256
    norm_before_gate: bool = False

    def __post_init__(self) -> None:
        """Raise UserError where the sizes do not fit each other."""
        if self.num_heads * self.head_dim != self.intermediate_size:
            raise UserError(
                f"num_heads {self.num_heads} * head_dim {self.head_dim} is"
                f" {self.num_heads * self.head_dim}, but hidden_size {self.hidden_size} expands to"
                f" {self.intermediate_size}; correct the config so that they are equal."
            )
        if self.num_heads % self.n_groups:
            raise UserError(
                f"n_groups {self.n_groups} does not divide num_heads {self.num_heads}; each group"
                " of B and C must serve the same number of heads."
            )

    @property
    def conv_channels(self) -> int:
        """Return the channels of the convolution: x, B and C."""
        return self.intermediate_size + 2 * self.n_groups * self.state_size


@dataclass(frozen=True)
class Mamba2:
    """Hold a Mamba-2: config, weights by their Hugging Face names, online rotations.

    out_hadamard: out_proj's input is multiplied by the orthonormal Hadamard matrix of d_inner.
    state_hadamard: B and C are multiplied by that of the state size, after SiLU.
    """

    config: Config
    weights: Weights
    out_hadamard: bool = False
    state_hadamard: bool = False


def read_config(values: Mapping[str, object], where: str = "config.json") -> Config:
    """Return the config in a config.json's keys; raise UserError for what is not implemented.

    Keys that steer only initialisation, training or the cache have no effect here: time_step_min,
    _max, _floor and _rank, initializer_range, rescale_prenorm_residual, use_cache. So has
    residual_in_fp32, because all is float32. norm_before_gate is ignored as transformers ignores
    it: published gate-first checkpoints (Mamba-Codestral) carry true.
    """
    fields = Fields(values, where)
    require_silu(fields)
    fields.flag("norm_before_gate", False)
    hidden_size = fields.integer("hidden_size", 4096)
    intermediate_size = fields.expanded(hidden_size)
    fields.require("intermediate_size", (intermediate_size,), intermediate_size)
    return Config(
        vocab_size=fields.integer("vocab_size", 32768),
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        state_size=fields.integer("state_size", 128),
        num_hidden_layers=fields.integer("num_hidden_layers", 64, most=MOST_LAYERS),
        num_heads=fields.integer("num_heads", 128),
        head_dim=fields.integer("head_dim", 64),
        n_groups=fields.integer("n_groups", 8),
        conv_kernel=fields.integer("conv_kernel", 4),
        use_bias=fields.flag("use_bias", False),
        use_conv_bias=fields.flag("use_conv_bias", True),
        layer_norm_epsilon=fields.number("layer_norm_epsilon", 1e-5),
        time_step_limit=_read_limit(fields),
        tie_word_embeddings=fields.flag("tie_word_embeddings", False),
        chunk_size=fields.integer("chunk_size", 256),
    )


def _read_limit(fields: Fields) -> tuple[float, float]:
    match fields.values.get("time_step_limit"):
        case None:
            return (0.0, inf)
        case [int() | float() as low, int() | float() as high] if 0 <= low <= high:
            return (float(low), float(high))
    raise fields.refuse("time_step_limit", "two numbers, 0 <= low <= high")


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name, the head included even where it is tied."""
    d, inner, channels = config.hidden_size, config.intermediate_size, config.conv_channels
    projected = inner + channels + config.num_heads
    shapes: dict[str, tuple[int, ...]] = {"backbone.embeddings.weight": (config.vocab_size, d)}
    for i in range(config.num_hidden_layers):
        mixer = f"backbone.layers.{i}.mixer"
        shapes[f"backbone.layers.{i}.norm.weight"] = (d,)
        shapes[f"{mixer}.in_proj.weight"] = (projected, d)
        shapes[f"{mixer}.conv1d.weight"] = (channels, 1, config.conv_kernel)
        for name in ("A_log", "D", "dt_bias"):
            shapes[f"{mixer}.{name}"] = (config.num_heads,)
        shapes[f"{mixer}.norm.weight"] = (inner,)
        shapes[f"{mixer}.out_proj.weight"] = (d, inner)
        if config.use_conv_bias:
            shapes[f"{mixer}.conv1d.bias"] = (channels,)
        if config.use_bias:
            shapes[f"{mixer}.in_proj.bias"] = (projected,)
            shapes[f"{mixer}.out_proj.bias"] = (d,)
    shapes["backbone.norm_f.weight"] = (d,)
    shapes["lm_head.weight"] = (config.vocab_size, d)
    return shapes


def read_model(checkpoint: Checkpoint) -> Mamba2:
    """Read the model of an opened folder; raise UserError for what does not fit its config."""
    config = read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    shapes = weight_shapes(config)
    return Mamba2(config, load_weights(checkpoint, shapes, config.tie_word_embeddings))


def stream(config: Config) -> Stream:
    """Return who reads and writes the residual."""
    return mixer_stream(config.num_hidden_layers, has_norm=True)


def linears(model: Mamba2) -> list[tuple[str, str]]:
    """List the weight matrices, each with the name of the tap that sees its input."""
    found = []
    for i in range(model.config.num_hidden_layers):
        mixer = f"backbone.layers.{i}.mixer"
        found.append((f"{mixer}.in_proj.weight", f"layers.{i}.norm"))
        found.append((f"{mixer}.out_proj.weight", f"layers.{i}.out_in"))
    return [*found, ("lm_head.weight", "final_norm")]


def initial_state(model: Mamba2, batch: int) -> State:
    """Return the all-zero state before the first token."""
    config, like = model.config, model.weights["backbone.norm_f.weight"]
    conv = like.new_zeros(batch, config.conv_kernel - 1, config.conv_channels)
    ssm = like.new_zeros(batch, config.num_heads, config.head_dim, config.state_size)
    return (LayerState(conv, ssm),) * config.num_hidden_layers


def advance(
    model: Mamba2, tokens: Tensor, state: State, tap: Tap | None = None
) -> tuple[Tensor, State]:
    """Return the logits [b, t, vocabulary] of tokens [b, t] after `state`, and the next state."""

    def mixer(i: int, u: Tensor, before: LayerState, tap: Tap | None) -> tuple[Tensor, LayerState]:
        return _mix(model, i, u, before, tap)

    epsilon = model.config.layer_norm_epsilon
    return run_layers(model.weights, epsilon, tokens, state, mixer, tap)


def sequence(model: Mamba2, tokens: Tensor, tap: Tap | None = None) -> Tensor:
    """Return the logits [b, t, vocabulary] of whole token sequences [b, t], int64."""
    return advance(model, tokens, initial_state(model, tokens.shape[0]), tap)[0]


def step(model: Mamba2, token: Tensor, state: State) -> tuple[Tensor, State]:
    """Return the logits [b, vocabulary] after one token [b], and the next state."""
    return one_token(lambda tokens, before: advance(model, tokens, before), token, state)


def generate(model: Mamba2, prompt: Tensor, count: int) -> Tensor:
    """Return the `count` most likely next tokens [b, count] after the prompt [b, t]."""
    start = initial_state(model, prompt.shape[0])
    return greedy(lambda tokens, state: advance(model, tokens, state), prompt, start, count)


def _mix(
    model: Mamba2, i: int, u: Tensor, before: LayerState, tap: Tap | None
) -> tuple[Tensor, LayerState]:
    config, weights = model.config, model.weights
    prefix, mixer = f"layers.{i}", f"backbone.layers.{i}.mixer"
    projected = visit(tap, f"{prefix}.in_proj", linear(weights, f"{mixer}.in_proj", u))
    sizes = [config.intermediate_size, config.conv_channels, config.num_heads]
    z, conv_in, dt_in = projected.split(sizes, dim=-1)
    z = visit(tap, f"{prefix}.z", z)
    conv_in = visit(tap, f"{prefix}.conv_in", conv_in)
    padded = torch.cat([before.conv, conv_in], dim=1)
    bias = weights.get(f"{mixer}.conv1d.bias")
    conv = depthwise_conv(padded, weights[f"{mixer}.conv1d.weight"], bias)
    conv = functional.silu(visit(tap, f"{prefix}.conv", conv))

    y, ssm = _scan(model, i, conv, dt_in, before.ssm, tap)
    y = visit(tap, f"{prefix}.y", y)
    gated = _gate_and_norm(model, i, y, visit(tap, f"{prefix}.gate", functional.silu(z)), tap)
    out_in = visit(tap, f"{prefix}.out_in", rotate(gated) if model.out_hadamard else gated)
    out = visit(tap, f"{prefix}.out", linear(weights, f"{mixer}.out_proj", out_in))
    return out, LayerState(padded[:, padded.shape[1] - before.conv.shape[1] :], ssm)


def _scan(
    model: Mamba2, i: int, xBC: Tensor, dt_in: Tensor, state: Tensor, tap: Tap | None
) -> tuple[Tensor, Tensor]:
    """Return y [b, t, d_inner] with the D skip, and the next state."""
    config, weights = model.config, model.weights
    prefix, mixer = f"layers.{i}", f"backbone.layers.{i}.mixer"
    grouped = config.n_groups * config.state_size
    x, B, C = xBC.split([config.intermediate_size, grouped, grouped], dim=-1)
    x = visit(tap, f"{prefix}.x", x).unflatten(-1, (config.num_heads, config.head_dim))
    B = visit(tap, f"{prefix}.B", B).unflatten(-1, (config.n_groups, config.state_size))
    C = visit(tap, f"{prefix}.C", C).unflatten(-1, (config.n_groups, config.state_size))
    if model.state_hadamard:
        B = visit(tap, f"{prefix}.B_rotated", rotate(B).flatten(-2)).view_as(B)
        C = visit(tap, f"{prefix}.C_rotated", rotate(C).flatten(-2)).view_as(C)
    dt = visit(tap, f"{prefix}.dt_raw", dt_in + weights[f"{mixer}.dt_bias"])
    dt = visit(tap, f"{prefix}.dt", functional.softplus(dt).clamp(*config.time_step_limit))
    v = visit(tap, f"{prefix}.v", dt * torch.exp(weights[f"{mixer}.A_log"]))
    if not sees_states(tap) and x.shape[1] > 1:
        chunk = min(config.chunk_size, LONGEST_CHUNK)
        y, state = scan_by_chunks(x, dt, v, B, C, state, chunk)
    else:
        y, state = scan_by_tokens(x, dt, v, B, C, state, tap, prefix)
    return (y + weights[f"{mixer}.D"][:, None] * x).flatten(-2), state


def _gate_and_norm(model: Mamba2, i: int, y: Tensor, gate: Tensor, tap: Tap | None) -> Tensor:
    config, prefix = model.config, f"layers.{i}"
    weight = model.weights[f"backbone.layers.{i}.mixer.norm.weight"]
    if config.norm_before_gate:
        y = rms_norm(y, weight, config.layer_norm_epsilon, config.n_groups)
        return visit(tap, f"{prefix}.gated", visit(tap, f"{prefix}.gated_norm", y) * gate)
    gated = visit(tap, f"{prefix}.gated", y * gate)
    gated = rms_norm(gated, weight, config.layer_norm_epsilon, config.n_groups)
    return visit(tap, f"{prefix}.gated_norm", gated)
