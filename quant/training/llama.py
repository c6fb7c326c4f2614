"""Define the Llama that is trained here, with the parameter names of the Hugging Face format.

Touvron et al., "LLaMA" (2023), with the shared key heads of Ainslie et al., "GQA" (2023).
Axes: b batch, t length, h query heads, g key heads, e head dim.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from quant.training.byte_model import ByteModel, RmsNorm


@dataclass(frozen=True)
class LlamaShape:
    """Hold the sizes of a tied Llama; the defaults are those of the shipped model.

    Each width is one for which cosim.ops.hadamard has a matrix: 160 = 40 * 4, 192 = 12 * 16,
    224 = 28 * 8. `window` counts the bytes that a byte sees, itself included; None: all.
    It is shorter than the windows of training, so that longer texts have no distance that is new.
    """

    hidden_size: int = 160
    layers: int = 5
    query_heads: int = 6
    key_heads: int = 2
    head_dim: int = 32
    inner_size: int = 224
    vocab_size: int = 256
    most_positions: int = 2048
    window: int | None = 256
    theta: float = 10000.0
    norm_epsilon: float = 1e-5


class Attention(nn.Module):
    """Mix along the sequence: causal softmax attention with rotary positions."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.shape = shape
        d, e = shape.hidden_size, shape.head_dim
        self.q_proj = nn.Linear(d, shape.query_heads * e, bias=False)
        self.k_proj = nn.Linear(d, shape.key_heads * e, bias=False)
        self.v_proj = nn.Linear(d, shape.key_heads * e, bias=False)
        self.o_proj = nn.Linear(shape.query_heads * e, d, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        """Return the mixed values [b, t, hidden]."""
        e, window = self.shape.head_dim, self.shape.window
        cos, sin = _rotation(u.shape[1], e, self.shape.theta)
        q, k, v = (p(u).unflatten(-1, (-1, e)).transpose(1, 2) for p in self._inputs())
        mask = None if window is None or window >= u.shape[1] else _band(u.shape[1], window)
        mixed = functional.scaled_dot_product_attention(
            _turn(q, cos, sin),
            _turn(k, cos, sin),
            v,
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=True,
        )
        out: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(-2))
        return out

    def _inputs(self) -> tuple[nn.Module, ...]:
        return self.q_proj, self.k_proj, self.v_proj


class Mlp(nn.Module):
    """Mix along the channels: W_down(SiLU(W_gate m) * W_up m)."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        d, inner = shape.hidden_size, shape.inner_size
        self.gate_proj = nn.Linear(d, inner, bias=False)
        self.up_proj = nn.Linear(d, inner, bias=False)
        self.down_proj = nn.Linear(inner, d, bias=False)

    def forward(self, m: Tensor) -> Tensor:
        """Return the mixed values, shape unchanged."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(m)) * self.up_proj(m))
        return out


class Block(nn.Module):
    """Add attention, then the channel mixer, each of the normalised input, to the residual."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(shape.hidden_size, shape.norm_epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RmsNorm(shape.hidden_size, shape.norm_epsilon)
        self.mlp = Mlp(shape)

    def forward(self, r: Tensor) -> Tensor:
        """Return the new residual stream."""
        r = r + self.self_attn(self.input_layernorm(r))
        out: Tensor = r + self.mlp(self.post_attention_layernorm(r))
        return out


class Decoder(nn.Module):
    """Hold embedding, blocks and the final norm under the names of the Hugging Face format."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.hidden_size, shape.norm_epsilon)


class Llama(ByteModel):
    """Predict the next byte; the output weights are the embedding's."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Decoder(shape)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # The residual stream sums two outputs a layer, so each starts smaller.
                sums = ("o_proj" in name) or ("down_proj" in name)
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * shape.layers if sums else 1))

    def predict(self, tokens: Tensor) -> Tensor:
        """Return the logits [b, t, vocabulary] of texts [b, t] read from their first byte on."""
        r = self.model.embed_tokens(tokens)
        for block in self.model.layers:
            r = block(r)
        return functional.linear(self.model.norm(r), self.model.embed_tokens.weight)

    def hugging_face_config(self) -> dict[str, object]:
        """Return the `config.json` for `LlamaForCausalLM`, or Mistral's where there is a window."""
        shape, family = self.shape, "llama" if self.shape.window is None else "mistral"
        return {
            "architectures": [f"{family.capitalize()}ForCausalLM"],
            "model_type": family,
            "vocab_size": shape.vocab_size,
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.inner_size,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.query_heads,
            "num_key_value_heads": shape.key_heads,
            "head_dim": shape.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": shape.most_positions,
            "rms_norm_eps": shape.norm_epsilon,
            "rope_theta": shape.theta,
            **({} if shape.window is None else {"sliding_window": shape.window}),
            "tie_word_embeddings": True,
            # Bytes have no special tokens.
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
            "torch_dtype": "float32",
        }


def _rotation(length: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cosine and sine [t, e / 2]: pair j turns by theta^(-2 j / e) a position."""
    frequencies = theta ** -(torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.arange(length).float()[:, None] * frequencies
    return angles.cos(), angles.sin()


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)


def _band(length: int, window: int) -> Tensor:
    """Return which byte sees which, bool [t, t]: itself and the window - 1 before."""
    at = torch.arange(length)
    back = at[:, None] - at
    return (back >= 0) & (back < window)
