"""Define the Mamba-2 that is trained here, with the parameter names of the Hugging Face format."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from quant.training.byte_model import RecurrentModel, RmsNorm
from quant.training.ssd import scan_chunked


@dataclass(frozen=True)
class Mamba2Shape:
    """Hold the sizes of a tied, one-group Mamba-2; the defaults are those of the shipped model."""

    hidden_size: int = 192
    layers: int = 4
    head_dim: int = 32
    state_size: int = 32
    conv_kernel: int = 4
    chunk_size: int = 32
    vocab_size: int = 256
    norm_epsilon: float = 1e-5

    @property
    def inner_size(self) -> int:
        """Return the width after expansion by two."""
        return 2 * self.hidden_size

    @property
    def heads(self) -> int:
        """Return the number of state-space heads."""
        return self.inner_size // self.head_dim

    @property
    def conv_size(self) -> int:
        """Return the number of convolved channels: x, B and C."""
        return self.inner_size + 2 * self.state_size


@dataclass(frozen=True)
class LayerState:
    """Hold what a layer carries: the last inputs of the convolution and the recurrent state.

    Shapes: conv [batch, kernel - 1, channels], scan [batch, state size, heads, head dim].
    """

    conv: Tensor
    scan: Tensor


class Mixer(nn.Module):
    """Mix along the sequence: in_proj, causal convolution, scan, gated norm, out_proj."""

    def __init__(self, shape: Mamba2Shape) -> None:
        super().__init__()
        self.shape = shape
        inner, channels, heads = shape.inner_size, shape.conv_size, shape.heads
        self.in_proj = nn.Linear(shape.hidden_size, inner + channels + heads, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, shape.conv_kernel, groups=channels)
        nn.init.zeros_(_bias(self.conv1d))
        # Time steps log-uniform in [0.001, 0.1], through the inverse of softplus.
        dt = torch.exp(torch.empty(heads).uniform_(math.log(1e-3), math.log(0.1)))
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = RmsNorm(inner, shape.norm_epsilon)
        self.out_proj = nn.Linear(inner, shape.hidden_size, bias=False)
        with torch.no_grad():
            # The residual stream sums all layers, so each starts smaller.
            self.out_proj.weight /= math.sqrt(shape.layers)

    def forward(self, u: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """Return the mixed values [batch, length, hidden] and the state after the last token."""
        shape = self.shape
        batch, length, _ = u.shape
        inner, channels = shape.inner_size, shape.conv_size
        gate, conv_in, dt = self.in_proj(u).split([inner, channels, shape.heads], -1)
        history = torch.cat([state.conv, conv_in], 1)
        taps = self.conv1d.weight[:, 0]
        convolved = _bias(self.conv1d) + sum(
            history[:, k : k + length] * taps[:, k] for k in range(shape.conv_kernel)
        )
        x, b, c = functional.silu(convolved).split([inner, shape.state_size, shape.state_size], -1)
        x = x.reshape(batch, length, shape.heads, shape.head_dim)
        dt = functional.softplus(dt + self.dt_bias)
        a = -torch.exp(self.A_log)
        y, scan = scan_chunked(
            x, dt, a, b.contiguous(), c.contiguous(), state.scan, min(shape.chunk_size, length)
        )
        y = (y + self.D[:, None] * x).reshape(batch, length, inner)
        out = self.out_proj(self.norm(y * functional.silu(gate)))
        return out, LayerState(history[:, length:], scan)


class Block(nn.Module):
    """Add the mixer's output of the normalised input to the residual stream."""

    def __init__(self, shape: Mamba2Shape) -> None:
        super().__init__()
        self.norm = RmsNorm(shape.hidden_size, shape.norm_epsilon)
        self.mixer = Mixer(shape)

    def forward(self, r: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """Return the new residual stream and the layer's new state."""
        mixed, state = self.mixer(self.norm(r), state)
        return r + mixed, state


class Backbone(nn.Module):
    """Hold embedding, blocks and the final norm under the names of the Hugging Face format."""

    def __init__(self, shape: Mamba2Shape) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(shape.vocab_size, shape.hidden_size)
        nn.init.normal_(self.embeddings.weight, std=0.02)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm_f = RmsNorm(shape.hidden_size, shape.norm_epsilon)


class Mamba2(RecurrentModel[list[LayerState]]):
    """Predict the next byte; the output weights are the embedding's."""

    def __init__(self, shape: Mamba2Shape) -> None:
        super().__init__()
        self.shape = shape
        self.backbone = Backbone(shape)

    @property
    def chunk_bytes(self) -> int:
        """Return the tokens of a chunk of the scan."""
        return self.shape.chunk_size

    def forward(self, tokens: Tensor, states: list[LayerState]) -> tuple[Tensor, list[LayerState]]:
        """Return logits [batch, length, vocabulary] and the states after the last token."""
        r = self.backbone.embeddings(tokens)
        after = []
        for block, state in zip(self.backbone.layers, states, strict=True):
            r, state = block(r, state)
            after.append(state)
        return functional.linear(self.backbone.norm_f(r), self.backbone.embeddings.weight), after

    def empty_states(self, batch: int) -> list[LayerState]:
        """Return the state before the first token of `batch` sequences."""
        s = self.shape
        conv = torch.zeros(batch, s.conv_kernel - 1, s.conv_size)
        scan = torch.zeros(batch, s.state_size, s.heads, s.head_dim)
        return [LayerState(conv, scan) for _ in range(s.layers)]

    def hugging_face_config(self) -> dict[str, object]:
        """Return the `config.json` that makes transformers' `Mamba2ForCausalLM` the same model."""
        shape = self.shape
        return {
            "architectures": ["Mamba2ForCausalLM"],
            "model_type": "mamba2",
            "vocab_size": shape.vocab_size,
            "hidden_size": shape.hidden_size,
            "num_hidden_layers": shape.layers,
            "expand": 2,
            "num_heads": shape.heads,
            "head_dim": shape.head_dim,
            "state_size": shape.state_size,
            "n_groups": 1,
            "conv_kernel": shape.conv_kernel,
            "chunk_size": shape.chunk_size,
            "hidden_act": "silu",
            "layer_norm_epsilon": shape.norm_epsilon,
            "use_bias": False,
            "use_conv_bias": True,
            "rms_norm": True,
            "residual_in_fp32": True,
            "tie_word_embeddings": True,
            # Bytes have no special tokens.
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
            "torch_dtype": "float32",
        }


def _bias(layer: nn.Conv1d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
