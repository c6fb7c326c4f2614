"""Run Mamba language models of the Hugging Face format in float32: tokens in, logits out.

Glossary (axes: b batch, t tokens, d_inner channels, r rank of the time step, n state):
    u           RMSNorm(residual) * weight                                  [b, t, d]
    x, z        W_in u, first half x, second half z                         [b, t, d_inner]
    x           SiLU(causal depthwise convolution of x)                     [b, t, d_inner]
    dt_r, B, C  W_x x, split in this order                                  r, n, n
    dt          softplus(W_dt dt_r + b_dt)                                  [b, t, d_inner]
    v           dt exp(A_log); the state decays by exp(-v)                  [b, t, d_inner, n]
    h           h = exp(-v) h + dt x B                                      [b, d_inner, n]
    y           sum over n of h C + D x
    out         W_out (y SiLU(z))
Source: Gu and Dao, "Mamba" (2023); the switches are transformers' MambaConfig.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from quant.models.causal import LayerState, State, greedy, one_token, run_layers
from quant.models.checkpoint import Checkpoint, load_weights
from quant.models.common import Tap, Weights, depthwise_conv, linear, rotate, visit
from quant.models.fields import MOST_LAYERS, Fields, require_silu
from quant.models.scan import selective_scan
from quant.models.stream import Stream, mixer_stream


@dataclass(frozen=True)
class Config:
    """Hold what decides a Mamba's function; names and defaults are those of the file format."""

    vocab_size: int = 50280
    hidden_size: int = 768
    intermediate_size: int = 1536
    state_size: int = 16
    num_hidden_layers: int = 32
    time_step_rank: int = 48
    conv_kernel: int = 4
    use_bias: bool = False
    use_conv_bias: bool = True
    layer_norm_epsilon: float = 1e-5
    tie_word_embeddings: bool = True


@dataclass(frozen=True)
class Mamba:
    """Hold a Mamba: config, weights by their Hugging Face names, online rotation.

    out_hadamard: out_proj's input is multiplied by the orthonormal Hadamard matrix of d_inner.
    """

    config: Config
    weights: Weights
    out_hadamard: bool = False


def read_config(values: Mapping[str, object], where: str = "config.json") -> Config:
    """Return the config in a config.json's keys; raise UserError for what is not implemented.

    intermediate_size, where present, outranks expand, as in transformers. Keys that steer only
    initialisation, training, the cache or the choice among equal scans have no effect here: the
    time_step_* but rank, initializer_range, rescale_prenorm_residual, use_cache, use_mambapy,
    use_associative_scan; and residual_in_fp32, because all is float32.
    """
    fields = Fields(values, where)
    require_silu(fields)
    hidden_size = fields.integer("hidden_size", 768)
    rank = -(-hidden_size // 16)
    if fields.values.get("time_step_rank") != "auto":
        rank = fields.integer("time_step_rank", rank)
    return Config(
        vocab_size=fields.integer("vocab_size", 50280),
        hidden_size=hidden_size,
        intermediate_size=fields.integer("intermediate_size", fields.expanded(hidden_size)),
        state_size=fields.integer("state_size", 16),
        num_hidden_layers=fields.integer("num_hidden_layers", 32, most=MOST_LAYERS),
        time_step_rank=rank,
        conv_kernel=fields.integer("conv_kernel", 4),
        use_bias=fields.flag("use_bias", False),
        use_conv_bias=fields.flag("use_conv_bias", True),
        layer_norm_epsilon=fields.number("layer_norm_epsilon", 1e-5),
        tie_word_embeddings=fields.flag("tie_word_embeddings", True),
    )


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name, the head included even where it is tied."""
    d, inner, n = config.hidden_size, config.intermediate_size, config.state_size
    rank = config.time_step_rank
    shapes: dict[str, tuple[int, ...]] = {"backbone.embeddings.weight": (config.vocab_size, d)}
    for i in range(config.num_hidden_layers):
        mixer = f"backbone.layers.{i}.mixer"
        shapes[f"backbone.layers.{i}.norm.weight"] = (d,)
        shapes[f"{mixer}.in_proj.weight"] = (2 * inner, d)
        shapes[f"{mixer}.conv1d.weight"] = (inner, 1, config.conv_kernel)
        shapes[f"{mixer}.x_proj.weight"] = (rank + 2 * n, inner)
        shapes[f"{mixer}.dt_proj.weight"] = (inner, rank)
        shapes[f"{mixer}.dt_proj.bias"] = (inner,)
        shapes[f"{mixer}.A_log"] = (inner, n)
        shapes[f"{mixer}.D"] = (inner,)
        shapes[f"{mixer}.out_proj.weight"] = (d, inner)
        if config.use_conv_bias:
            shapes[f"{mixer}.conv1d.bias"] = (inner,)
        if config.use_bias:
            shapes[f"{mixer}.in_proj.bias"] = (2 * inner,)
            shapes[f"{mixer}.out_proj.bias"] = (d,)
    shapes["backbone.norm_f.weight"] = (d,)
    shapes["lm_head.weight"] = (config.vocab_size, d)
    return shapes


def read_model(checkpoint: Checkpoint) -> Mamba:
    """Read the model of an opened folder; raise UserError for what does not fit its config."""
    config = read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    shapes = weight_shapes(config)
    return Mamba(config, load_weights(checkpoint, shapes, config.tie_word_embeddings))


def stream(config: Config) -> Stream:
    """Return who reads and writes the residual."""
    return mixer_stream(config.num_hidden_layers)


def linears(model: Mamba) -> list[tuple[str, str]]:
    """List the weight matrices, each with the name of the tap that sees its input."""
    found = []
    for i in range(model.config.num_hidden_layers):
        mixer = f"backbone.layers.{i}.mixer"
        found += [
            (f"{mixer}.in_proj.weight", f"layers.{i}.norm"),
            (f"{mixer}.x_proj.weight", f"layers.{i}.x"),
            (f"{mixer}.dt_proj.weight", f"layers.{i}.dt_rank"),
            (f"{mixer}.out_proj.weight", f"layers.{i}.out_in"),
        ]
    return [*found, ("lm_head.weight", "final_norm")]


def initial_state(model: Mamba, batch: int) -> State:
    """Return the all-zero state before the first token."""
    config, like = model.config, model.weights["backbone.norm_f.weight"]
    conv = like.new_zeros(batch, config.conv_kernel - 1, config.intermediate_size)
    ssm = like.new_zeros(batch, config.intermediate_size, config.state_size)
    return (LayerState(conv, ssm),) * config.num_hidden_layers


def advance(
    model: Mamba, tokens: Tensor, state: State, tap: Tap | None = None
) -> tuple[Tensor, State]:
    """Return the logits [b, t, vocabulary] of tokens [b, t] after `state`, and the next state."""

    def mixer(i: int, u: Tensor, before: LayerState, tap: Tap | None) -> tuple[Tensor, LayerState]:
        return _mix(model, i, u, before, tap)

    epsilon = model.config.layer_norm_epsilon
    return run_layers(model.weights, epsilon, tokens, state, mixer, tap)


def sequence(model: Mamba, tokens: Tensor, tap: Tap | None = None) -> Tensor:
    """Return the logits [b, t, vocabulary] of whole token sequences [b, t], int64."""
    return advance(model, tokens, initial_state(model, tokens.shape[0]), tap)[0]


def step(model: Mamba, token: Tensor, state: State) -> tuple[Tensor, State]:
    """Return the logits [b, vocabulary] after one token [b], and the next state."""
    return one_token(lambda tokens, before: advance(model, tokens, before), token, state)


def generate(model: Mamba, prompt: Tensor, count: int) -> Tensor:
    """Return the `count` most likely next tokens [b, count] after the prompt [b, t]."""
    start = initial_state(model, prompt.shape[0])
    return greedy(lambda tokens, state: advance(model, tokens, state), prompt, start, count)


def _mix(
    model: Mamba, i: int, u: Tensor, before: LayerState, tap: Tap | None
) -> tuple[Tensor, LayerState]:
    config, weights = model.config, model.weights
    prefix, mixer = f"layers.{i}", f"backbone.layers.{i}.mixer"
    projected = visit(tap, f"{prefix}.in_proj", linear(weights, f"{mixer}.in_proj", u))
    conv_in, z = projected.split(config.intermediate_size, dim=-1)
    z = visit(tap, f"{prefix}.z", z)
    conv_in = visit(tap, f"{prefix}.conv_in", conv_in)
    padded = torch.cat([before.conv, conv_in], dim=1)
    bias = weights.get(f"{mixer}.conv1d.bias")
    conv = depthwise_conv(padded, weights[f"{mixer}.conv1d.weight"], bias)
    x = visit(tap, f"{prefix}.x", functional.silu(visit(tap, f"{prefix}.conv", conv)))

    y, ssm = _scan(model, i, x, before.ssm, tap)
    y = visit(tap, f"{prefix}.y", y)
    gate = visit(tap, f"{prefix}.gate", functional.silu(z))
    gated = visit(tap, f"{prefix}.gated", y * gate)
    out_in = visit(tap, f"{prefix}.out_in", rotate(gated) if model.out_hadamard else gated)
    out = visit(tap, f"{prefix}.out", linear(weights, f"{mixer}.out_proj", out_in))
    return out, LayerState(padded[:, padded.shape[1] - before.conv.shape[1] :], ssm)


def _scan(model: Mamba, i: int, x: Tensor, state: Tensor, tap: Tap | None) -> tuple[Tensor, Tensor]:
    """Return y [b, t, d_inner] with the D skip, and the next state."""
    config, weights = model.config, model.weights
    prefix, mixer = f"layers.{i}", f"backbone.layers.{i}.mixer"
    sizes = [config.time_step_rank, config.state_size, config.state_size]
    rank, B, C = linear(weights, f"{mixer}.x_proj", x).split(sizes, dim=-1)
    rank = visit(tap, f"{prefix}.dt_rank", rank)
    B = visit(tap, f"{prefix}.B", B)
    C = visit(tap, f"{prefix}.C", C)
    dt = visit(tap, f"{prefix}.dt_raw", linear(weights, f"{mixer}.dt_proj", rank))
    dt = visit(tap, f"{prefix}.dt", functional.softplus(dt))
    rate = torch.exp(weights[f"{mixer}.A_log"])
    y, state = selective_scan(x, dt, rate, B, C, state, tap, prefix)
    return y + weights[f"{mixer}.D"] * x, state
