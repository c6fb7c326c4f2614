"""Run Llama language models of the Hugging Face format in float32: tokens in, logits out.

Glossary (axes: b batch, t tokens, d hidden size, h heads, g key heads, e head dim):
    u          RMSNorm(residual) * weight                              [b, t, d]
    q, k, v    W_q u, W_k u, W_v u; q and k turned by their positions  [b, h or g, t, e]
    o          W_o softmax(q k^T / sqrt(e)) v, causal, or the last `sliding_window` tokens
    m          RMSNorm(residual + o) * weight
    out        W_down(SiLU(W_gate m) * W_up m)
Sources: Touvron et al., "LLaMA" (2023); Jiang et al., "Mistral 7B" (2023); the switches are those
of transformers' LlamaConfig and MistralConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from cosim.ir.errors import UserError
from quant.models.attend import (
    Cache,
    State,
    attend,
    empty_state,
    positions,
    rope_angles,
    rotate_pairs,
    visible,
)
from quant.models.causal import greedy, one_token
from quant.models.checkpoint import Checkpoint, load_weights
from quant.models.common import Tap, Weights, check_tokens, linear, rms_norm, rotate, visit
from quant.models.fields import MOST_LAYERS, Fields
from quant.models.stream import Stream


@dataclass(frozen=True)
class Config:
    """Hold what decides a Llama's function; names and defaults are those of the file format."""

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 32
    head_dim: int = 128
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    sliding_window: int | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = False

    def __post_init__(self) -> None:
        """Raise UserError where the heads do not fit each other."""
        if self.num_attention_heads % self.num_key_value_heads:
            raise UserError(
                f"num_key_value_heads {self.num_key_value_heads} does not divide"
                f" num_attention_heads {self.num_attention_heads}; each key head must serve the"
                " same number of query heads."
            )
        if self.head_dim % 2:
            raise UserError(
                f"head_dim {self.head_dim} is odd, but RoPE turns pairs of channels; give an even"
                " head_dim."
            )


@dataclass(frozen=True)
class Llama:
    """Hold a Llama: config, weights by their Hugging Face names, and what passes have rotated.

    out_hadamard: down_proj's input is multiplied by the orthonormal Hadamard matrix of its size.
    key_hadamard: queries and keys, turned by their positions, by that of the head dim.
    """

    config: Config
    weights: Weights
    out_hadamard: bool = False
    key_hadamard: bool = False


def read_config(values: Mapping[str, object], where: str = "config.json") -> Config:
    """Return the config in a config.json's keys; raise UserError for what is not implemented.

    Keys that steer only initialisation, training, dropout or the cache have no effect here.
    """
    fields = Fields(values, where)
    mistral = values.get("model_type") == "mistral"
    fields.require("hidden_act", ("silu", "swish"), "silu")
    if values.get("layer_types") is not None:
        raise fields.refuse("layer_types", "absent (one kind of attention in all layers)")
    hidden, heads = fields.integer("hidden_size", 4096), fields.integer("num_attention_heads", 32)
    if values.get("head_dim") is None and hidden % heads:
        raise fields.refuse("num_attention_heads", f"a divisor of hidden_size {hidden}")
    window = values.get("sliding_window", 4096) if mistral else None
    return Config(
        vocab_size=fields.integer("vocab_size", 32000),
        hidden_size=hidden,
        intermediate_size=fields.integer("intermediate_size", 14336 if mistral else 11008),
        num_hidden_layers=fields.integer("num_hidden_layers", 32, most=MOST_LAYERS),
        num_attention_heads=heads,
        num_key_value_heads=fields.integer(
            "num_key_value_heads", 8 if mistral and "num_key_value_heads" not in values else heads
        ),
        head_dim=fields.integer("head_dim", hidden // heads),
        max_position_embeddings=fields.integer(
            "max_position_embeddings", 4096 * 32 if mistral else 2048
        ),
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
        rope_theta=_read_theta(fields),
        sliding_window=None if window is None else fields.integer("sliding_window", 4096),
        attention_bias=not mistral and fields.flag("attention_bias", False),
        mlp_bias=not mistral and fields.flag("mlp_bias", False),
        tie_word_embeddings=fields.flag("tie_word_embeddings", False),
    )


def _read_theta(fields: Fields) -> float:
    """Return RoPE's base, in the key of today's files or in that of older ones."""
    for key in ("rope_parameters", "rope_scaling"):
        value = fields.values.get(key)
        if value is None:
            continue
        if not isinstance(value, Mapping):
            raise fields.refuse(key, "an object, or absent")
        kind = value.get("rope_type", value.get("type", "default"))
        if kind != "default":
            raise UserError(
                f"{fields.where}: {key} asks for the RoPE scaling {kind!r}, but only 'default' is"
                " supported; use a checkpoint without scaling, within its trained context."
            )
        if value.get("partial_rotary_factor", 1.0) != 1.0:
            raise fields.refuse(key, "without a partial_rotary_factor")
        if "rope_theta" in value:
            return Fields(value, f"{fields.where}, {key}").number("rope_theta", 10000.0)
    return fields.number("rope_theta", 10000.0)


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name, the head included even where it is tied."""
    d, inner, e = config.hidden_size, config.intermediate_size, config.head_dim
    queries, keys = config.num_attention_heads * e, config.num_key_value_heads * e
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, d)}
    for i in range(config.num_hidden_layers):
        layer = f"model.layers.{i}"
        shapes[f"{layer}.input_layernorm.weight"] = (d,)
        shapes[f"{layer}.post_attention_layernorm.weight"] = (d,)
        attention = {"q": (queries, d), "k": (keys, d), "v": (keys, d), "o": (d, queries)}
        mlp = {"gate": (inner, d), "up": (inner, d), "down": (d, inner)}
        for part, has_bias, sizes in (
            ("self_attn", config.attention_bias, attention),
            ("mlp", config.mlp_bias, mlp),
        ):
            for name, shape in sizes.items():
                shapes[f"{layer}.{part}.{name}_proj.weight"] = shape
                if has_bias:
                    shapes[f"{layer}.{part}.{name}_proj.bias"] = shape[:1]
    shapes["model.norm.weight"] = (d,)
    shapes["lm_head.weight"] = (config.vocab_size, d)
    return shapes


def read_model(checkpoint: Checkpoint) -> Llama:
    """Read the model of an opened folder; raise UserError for what does not fit its config."""
    config = read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    return Llama(
        config, load_weights(checkpoint, weight_shapes(config), config.tie_word_embeddings)
    )


def stream(config: Config) -> Stream:
    """Return who reads and writes the residual, and where its heads are."""
    readers: list[tuple[str, str]] = []
    writers, heads = [], []
    for i in range(config.num_hidden_layers):
        layer = f"model.layers.{i}"
        attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
        readers += [(f"{layer}.input_layernorm", f"{attention}.{n}_proj") for n in "qkv"]
        readers += [
            (f"{layer}.post_attention_layernorm", f"{mlp}.{n}_proj") for n in ("gate", "up")
        ]
        writers += [f"{attention}.o_proj", f"{mlp}.down_proj"]
        heads.append((f"{attention}.v_proj", f"{attention}.o_proj", config.head_dim))
    return Stream(
        embedding="model.embed_tokens",
        readers=(*readers, ("model.norm", "lm_head")),
        writers=tuple(writers),
        turned=tuple(writers[1::2]),
        heads=tuple(heads),
    )


def linears(model: Llama) -> list[tuple[str, str]]:
    """List the weight matrices, each with the name of the tap that sees its input."""
    found = []
    for i in range(model.config.num_hidden_layers):
        layer, at = f"model.layers.{i}", f"layers.{i}"
        found += [(f"{layer}.self_attn.{n}_proj.weight", f"{at}.norm") for n in "qkv"]
        found.append((f"{layer}.self_attn.o_proj.weight", f"{at}.attended"))
        found += [(f"{layer}.mlp.{n}_proj.weight", f"{at}.mlp_norm") for n in ("gate", "up")]
        found.append((f"{layer}.mlp.down_proj.weight", f"{at}.down_in"))
    return [*found, ("lm_head.weight", "final_norm")]


def initial_state(model: Llama, batch: int) -> State:
    """Return the empty cache before the first token."""
    config, like = model.config, model.weights["model.norm.weight"]
    return empty_state(
        like, config.num_hidden_layers, batch, config.num_key_value_heads, config.head_dim
    )


def advance(
    model: Llama, tokens: Tensor, state: State, tap: Tap | None = None
) -> tuple[Tensor, State]:
    """Return the logits [b, t, vocabulary] of tokens [b, t] after `state`, and the next state.

    Raises UserError past the positions that the model was made for.
    """
    config, weights = model.config, model.weights
    check_tokens(tokens, config.vocab_size)
    first, end = positions(state, tokens, config.max_position_embeddings, "max_position_embeddings")
    angles = rope_angles(first, tokens.shape[1], config.head_dim, config.rope_theta)
    mask = visible(tokens.shape[1], end, config.sliding_window)
    residual = visit(tap, "embed", weights["model.embed_tokens.weight"][tokens])
    after = []
    for i, before in enumerate(state):
        layer, at = f"model.layers.{i}", f"layers.{i}"
        residual = visit(tap, f"{at}.residual", residual)
        u = rms_norm(residual, weights[f"{layer}.input_layernorm.weight"], config.rms_norm_eps)
        out, cache = _attention(model, i, visit(tap, f"{at}.norm", u), before, angles, mask, tap)
        residual = visit(tap, f"{at}.middle", residual + out)
        gain = weights[f"{layer}.post_attention_layernorm.weight"]
        m = visit(tap, f"{at}.mlp_norm", rms_norm(residual, gain, config.rms_norm_eps))
        residual = residual + _mlp(model, i, m, tap)
        after.append(cache)
    final = rms_norm(residual, weights["model.norm.weight"], config.rms_norm_eps)
    final = visit(tap, "final_norm", final)
    return visit(tap, "logits", linear(weights, "lm_head", final)), tuple(after)


def sequence(model: Llama, tokens: Tensor, tap: Tap | None = None) -> Tensor:
    """Return the logits [b, t, vocabulary] of whole token sequences [b, t], int64."""
    return advance(model, tokens, initial_state(model, tokens.shape[0]), tap)[0]


def step(model: Llama, token: Tensor, state: State) -> tuple[Tensor, State]:
    """Return the logits [b, vocabulary] after one token [b], and the next state."""
    return one_token(lambda tokens, before: advance(model, tokens, before), token, state)


def generate(model: Llama, prompt: Tensor, count: int) -> Tensor:
    """Return the `count` most likely next tokens [b, count] after the prompt [b, t]."""
    start = initial_state(model, prompt.shape[0])
    return greedy(lambda tokens, state: advance(model, tokens, state), prompt, start, count)


def _attention(
    model: Llama, i: int, u: Tensor, before: Cache, angles: Tensor, mask: Tensor, tap: Tap | None
) -> tuple[Tensor, Cache]:
    at, part = f"layers.{i}", f"model.layers.{i}.self_attn"
    e = model.config.head_dim

    def heads(name: str) -> Tensor:
        x = visit(tap, f"{at}.{name}", linear(model.weights, f"{part}.{name}_proj", u))
        return x.unflatten(-1, (-1, e)).transpose(1, 2)

    def turned(name: str) -> Tensor:
        x = rotate_pairs(heads(name), angles)
        x = rotate(x) if model.key_hadamard else x
        flat = visit(tap, f"{at}.{name}_turned", x.transpose(1, 2).flatten(-2))
        return flat.unflatten(-1, (-1, e)).transpose(1, 2)

    q, k, v = turned("q"), turned("k"), heads("v")
    cache = before.extended(k, v)
    attended = visit(
        tap, f"{at}.attended", attend(q, cache, mask, e**-0.5).transpose(1, 2).flatten(-2)
    )
    return visit(tap, f"{at}.out", linear(model.weights, f"{part}.o_proj", attended)), cache


def _mlp(model: Llama, i: int, m: Tensor, tap: Tap | None) -> Tensor:
    at, part = f"layers.{i}", f"model.layers.{i}.mlp"
    gate = visit(tap, f"{at}.gate", linear(model.weights, f"{part}.gate_proj", m))
    up = visit(tap, f"{at}.up", linear(model.weights, f"{part}.up_proj", m))
    gate = visit(tap, f"{at}.silu", functional.silu(gate))
    gated = visit(tap, f"{at}.gated", gate * up)
    down_in = visit(tap, f"{at}.down_in", rotate(gated) if model.out_hadamard else gated)
    return visit(tap, f"{at}.down", linear(model.weights, f"{part}.down_proj", down_in))
