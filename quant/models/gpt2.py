"""Run GPT-2 language models of the Hugging Face format in float32: tokens in, logits out.

Glossary (axes: b batch, t tokens, d width n_embd, h heads, e head dim d / h):
    u        LayerNorm(residual)                                           [b, t, d]
    q, k, v  thirds of W_attn u + bias, split into heads                   [b, h, t, e]
    o        W_proj softmax(scale q k^T) v + bias, causal
    m        LayerNorm(residual + o)
    out      W_proj gelu(W_fc m + bias) + bias
Positions are a table of vectors added to the embedding. Source: Radford et al., "Language Models
are Unsupervised Multitask Learners" (2019); the switches are those of transformers' GPT2Config.
Matrices are turned to [out, in] when they are read: files of GPT-2 store them the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.nn import functional

from quant.models.attend import Cache, State, attend, empty_state, positions, visible
from quant.models.causal import greedy, one_token
from quant.models.checkpoint import Checkpoint, load_weights
from quant.models.common import Tap, Weights, check_tokens, layer_norm, linear, visit
from quant.models.fields import MOST_LAYERS, Fields

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
    "gelu": functional.gelu,
    "relu": functional.relu,
}


@dataclass(frozen=True)
class Config:
    """Hold what decides a GPT-2's function; names and defaults are those of the file format."""

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int = 3072
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    tie_word_embeddings: bool = True

    def scale(self, layer: int) -> float:
        """Return what the scores of a layer are multiplied by."""
        scale = (self.n_embd // self.n_head) ** -0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale


@dataclass(frozen=True)
class Gpt2:
    """Hold a GPT-2: config, and weights by their Hugging Face names, matrices [out, in]."""

    config: Config
    weights: Weights


def read_config(values: Mapping[str, object], where: str = "config.json") -> Config:
    """Return the config in a config.json's keys; raise UserError for what is not implemented."""
    fields = Fields(values, where)
    d, heads = fields.integer("n_embd", 768), fields.integer("n_head", 12)
    if d % heads:
        raise fields.refuse("n_head", f"a divisor of n_embd {d}")
    fields.require("activation_function", tuple(ACTIVATIONS), "gelu_new")
    fields.require("add_cross_attention", (False,), False)
    return Config(
        vocab_size=fields.integer("vocab_size", 50257),
        n_positions=fields.integer("n_positions", 1024),
        n_embd=d,
        n_layer=fields.integer("n_layer", 12, most=MOST_LAYERS),
        n_head=heads,
        n_inner=fields.integer("n_inner", 4 * d),
        activation_function=str(values.get("activation_function") or "gelu_new"),
        layer_norm_epsilon=fields.number("layer_norm_epsilon", 1e-5),
        scale_attn_weights=fields.flag("scale_attn_weights", True),
        scale_attn_by_inverse_layer_idx=fields.flag("scale_attn_by_inverse_layer_idx", False),
        tie_word_embeddings=fields.flag("tie_word_embeddings", True),
    )


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name as files store them, the head included."""
    d, inner = config.n_embd, config.n_inner
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (config.vocab_size, d),
        "transformer.wpe.weight": (config.n_positions, d),
    }
    for i in range(config.n_layer):
        layer = f"transformer.h.{i}"
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{layer}.{norm}.weight": (d,), f"{layer}.{norm}.bias": (d,)}
        for name, takes, gives in (
            ("attn.c_attn", d, 3 * d),
            ("attn.c_proj", d, d),
            ("mlp.c_fc", d, inner),
            ("mlp.c_proj", inner, d),
        ):
            shapes |= {f"{layer}.{name}.weight": (takes, gives), f"{layer}.{name}.bias": (gives,)}
    shapes |= {"transformer.ln_f.weight": (d,), "transformer.ln_f.bias": (d,)}
    return shapes | {"lm_head.weight": (config.vocab_size, d)}


def read_model(checkpoint: Checkpoint) -> Gpt2:
    """Read the model of an opened folder; raise UserError for what does not fit its config."""
    config = read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    stored = load_weights(checkpoint, weight_shapes(config), config.tie_word_embeddings)
    turned = {n: w.T.contiguous() for n, w in stored.items() if ".c_" in n and w.dim() == 2}
    return Gpt2(config, stored | turned)


def linears(model: Gpt2) -> list[tuple[str, str]]:
    """List the weight matrices, each with the name of the tap that sees its input."""
    found = []
    for i in range(model.config.n_layer):
        layer, at = f"transformer.h.{i}", f"layers.{i}"
        found += [
            (f"{layer}.attn.c_attn.weight", f"{at}.norm"),
            (f"{layer}.attn.c_proj.weight", f"{at}.attended"),
            (f"{layer}.mlp.c_fc.weight", f"{at}.mlp_norm"),
            (f"{layer}.mlp.c_proj.weight", f"{at}.down_in"),
        ]
    return [*found, ("lm_head.weight", "final_norm")]


def initial_state(model: Gpt2, batch: int) -> State:
    """Return the empty cache before the first token."""
    config, like = model.config, model.weights["transformer.ln_f.weight"]
    e = config.n_embd // config.n_head
    return empty_state(like, config.n_layer, batch, config.n_head, e)


def advance(
    model: Gpt2, tokens: Tensor, state: State, tap: Tap | None = None
) -> tuple[Tensor, State]:
    """Return the logits [b, t, vocabulary] of tokens [b, t] after `state`, and the next state.

    Raises UserError past the positions that the model was made for.
    """
    config, weights = model.config, model.weights
    check_tokens(tokens, config.vocab_size)
    first, end = positions(state, tokens, config.n_positions, "n_positions")
    mask = visible(tokens.shape[1], end, None)
    residual = weights["transformer.wte.weight"][tokens]
    residual = visit(tap, "embed", residual + weights["transformer.wpe.weight"][first:end])
    after = []
    for i, before in enumerate(state):
        at = f"layers.{i}"
        residual = visit(tap, f"{at}.residual", residual)
        u = visit(tap, f"{at}.norm", _norm(model, f"h.{i}.ln_1", residual))
        out, cache = _attention(model, i, u, before, mask, tap)
        residual = visit(tap, f"{at}.middle", residual + out)
        m = visit(tap, f"{at}.mlp_norm", _norm(model, f"h.{i}.ln_2", residual))
        residual = residual + _mlp(model, i, m, tap)
        after.append(cache)
    final = visit(tap, "final_norm", _norm(model, "ln_f", residual))
    return visit(tap, "logits", linear(weights, "lm_head", final)), tuple(after)


def sequence(model: Gpt2, tokens: Tensor, tap: Tap | None = None) -> Tensor:
    """Return the logits [b, t, vocabulary] of whole token sequences [b, t], int64."""
    return advance(model, tokens, initial_state(model, tokens.shape[0]), tap)[0]


def step(model: Gpt2, token: Tensor, state: State) -> tuple[Tensor, State]:
    """Return the logits [b, vocabulary] after one token [b], and the next state."""
    return one_token(lambda tokens, before: advance(model, tokens, before), token, state)


def generate(model: Gpt2, prompt: Tensor, count: int) -> Tensor:
    """Return the `count` most likely next tokens [b, count] after the prompt [b, t]."""
    start = initial_state(model, prompt.shape[0])
    return greedy(lambda tokens, state: advance(model, tokens, state), prompt, start, count)


def _norm(model: Gpt2, name: str, x: Tensor) -> Tensor:
    weight, bias = (model.weights[f"transformer.{name}.{part}"] for part in ("weight", "bias"))
    return layer_norm(x, weight, bias, model.config.layer_norm_epsilon)


def _attention(
    model: Gpt2, i: int, u: Tensor, before: Cache, mask: Tensor, tap: Tap | None
) -> tuple[Tensor, Cache]:
    at, part = f"layers.{i}", f"transformer.h.{i}.attn"
    projected = visit(tap, f"{at}.qkv", linear(model.weights, f"{part}.c_attn", u))
    q, k, v = (
        x.unflatten(-1, (model.config.n_head, -1)).transpose(1, 2)
        for x in projected.chunk(3, dim=-1)
    )
    cache = before.extended(k, v)
    attended = attend(q, cache, mask, model.config.scale(i)).transpose(1, 2).flatten(-2)
    attended = visit(tap, f"{at}.attended", attended)
    return visit(tap, f"{at}.out", linear(model.weights, f"{part}.c_proj", attended)), cache


def _mlp(model: Gpt2, i: int, m: Tensor, tap: Tap | None) -> Tensor:
    at, part = f"layers.{i}", f"transformer.h.{i}.mlp"
    up = visit(tap, f"{at}.up", linear(model.weights, f"{part}.c_fc", m))
    down_in = visit(tap, f"{at}.down_in", ACTIVATIONS[model.config.activation_function](up))
    return visit(tap, f"{at}.down", linear(model.weights, f"{part}.c_proj", down_in))
