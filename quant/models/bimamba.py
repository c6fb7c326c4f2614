"""Run typeseg's pretrained bidirectional Mamba: bytes in, one of 35 content types per byte out.

Glossary (axes: b batch, t bytes, d channels, r rank, n state, k width; sizes of release 0.2.7):
    byte        0..255, 256 for padding; rows of the embedding: 128..255 -> 128, 256 -> 129
    residual    embedding [130, 256] of the byte; every block adds its output to it
    u           LayerNorm(residual), mean removed, weight AND bias, epsilon 1e-6         [b, t, 256]
    x, z        W_in u + b_in, first half x, second half z (expand is 1)                 [b, t, 256]
    conv        depthwise, width 4, zeros outside the window, NOT causal, bias:
                conv[t] = w0 x[t-1] + w1 x[t] + w2 x[t+1] + w3 x[t+2] + b                [b, t, 256]
    x           SiLU(conv); the scan input of BOTH directions (the convolution is not reversed)
    dt_r, B, C  W_x x + b_x, split in this order; x_proj has a bias                      16, 16, 16
    dt          softplus(W_dt dt_r + b_dt) + 1e-4                                        [b, t, 256]
    |A|, D      exp(A_log) [256, 16], D [256]; all weights are shared by both directions
    h           h[t] = exp(-dt |A|) h[t-1] + dt x B, from zero at the window's first byte;
                the reverse scan is the same with t+1, from zero at the window's last byte
    y_fwd       sum over n of h C + D x; y_bwd alike from the reverse scan
    y           y_fwd + y_bwd: the byte's own x dt B C term and the skip D x are counted TWICE
    gated       y SiLU(z); there is no norm between gate and out_proj, so its scale grows with depth
    residual    += W_out gated + b_out
    logits      W_head LayerNorm(residual) + b_head                                      [b, t, 35]

Largest magnitudes, measured on the first 1,024 bytes of nine source and markup files:
    u 5    x, z 8..15    conv, x, SiLU(z) 8..21    dt_r 6..22    B, C 5..15    dt 1e-4..18
    |A| 0.6..1.2, D 0.88..1.22    h 70..575    y 1.6e3, 2e3, 1.4e4, 1.5e4, 3e4, 1.1e5 (block 0..5)
    gated 4e3, 6e3, 2e4, 3e4, 5e4, 9e5    residual 0.1 after the embedding, 1e3..1.5e4 before blocks
    1..5, 3e5 before the last norm    logits 11
Source: the package's own numpy backend, `typeseg/_mamba_kernel.py` (Apache-2.0), read at run time.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from quant.models.common import (
    Tap,
    Weights,
    check_tokens,
    depthwise_conv,
    layer_norm,
    linear,
    rms_norm,
    rotate,
    visit,
)
from quant.models.scan import selective_scan
from quant.models.stream import Stream, mixer_stream

BYTE_VALUES = 257  # 256 bytes and the padding mark
PLACEHOLDER_BYTE = 0xA4  # what typeseg's own tokeniser writes for a byte it does not accept


@dataclass(frozen=True)
class Config:
    """Hold the sizes of a bidirectional Mamba; the defaults are typeseg 0.2.7's."""

    hidden_size: int = 256
    intermediate_size: int = 256
    state_size: int = 16
    time_step_rank: int = 16
    conv_kernel: int = 4
    num_hidden_layers: int = 6
    vocab_size: int = 130
    labels: tuple[str, ...] = tuple(f"class {i}" for i in range(35))
    layer_norm_epsilon: float = 1e-6
    time_step_floor: float = 1e-4  # added after the softplus

    @property
    def look_behind(self) -> int:
        """Return how many earlier bytes the convolution sees ("SAME" padding)."""
        return (self.conv_kernel - 1) // 2

    @property
    def look_ahead(self) -> int:
        """Return how many later bytes the convolution sees."""
        return self.conv_kernel - 1 - self.look_behind


@dataclass(frozen=True)
class BiMamba:
    """Hold a bidirectional Mamba: sizes, weights by name, and what a pass has moved.

    `out_hadamard`: out_proj's input is rotated. `centered`: the weights that write the residual
    keep its mean at zero, so that every LayerNorm is a root-mean-square norm.
    """

    config: Config
    weights: Weights
    out_hadamard: bool = False
    centered: bool = False


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name, in the layout of torch's own layers."""
    d, inner, n = config.hidden_size, config.intermediate_size, config.state_size
    rank, classes = config.time_step_rank, len(config.labels)
    shapes: dict[str, tuple[int, ...]] = {"backbone.embeddings.weight": (config.vocab_size, d)}
    for i in range(config.num_hidden_layers):
        layer = f"backbone.layers.{i}"
        shapes[f"{layer}.norm.weight"] = shapes[f"{layer}.norm.bias"] = (d,)
        shapes[f"{layer}.mixer.conv1d.weight"] = (inner, 1, config.conv_kernel)
        shapes[f"{layer}.mixer.conv1d.bias"] = (inner,)
        shapes[f"{layer}.mixer.A_log"] = (inner, n)
        shapes[f"{layer}.mixer.D"] = (inner,)
        for name, out, into in (
            ("in_proj", 2 * inner, d),
            ("x_proj", rank + 2 * n, inner),
            ("dt_proj", inner, rank),
            ("out_proj", d, inner),
        ):
            shapes[f"{layer}.mixer.{name}.weight"] = (out, into)
            shapes[f"{layer}.mixer.{name}.bias"] = (out,)
    shapes["backbone.norm_f.weight"] = shapes["backbone.norm_f.bias"] = (d,)
    shapes["lm_head.weight"], shapes["lm_head.bias"] = (classes, d), (classes,)
    return shapes


def stream(config: Config) -> Stream:
    """Return who reads and writes the residual."""
    return mixer_stream(config.num_hidden_layers)


def linears(model: BiMamba) -> list[tuple[str, str]]:
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


def encode(raw: bytes) -> Tensor:
    """Return the bytes [1, t] as typeseg's tokeniser gives them: control characters replaced.

    >>> encode(b"a\\x00\\n").tolist()
    [[97, 164, 10]]
    """
    values = torch.tensor(list(raw), dtype=torch.int64)
    printable = (values >= 0x20) & (values <= 0x7E)
    kept = printable | (values == 0x09) | (values == 0x0A) | (values == 0x0D)
    return torch.where(kept, values, PLACEHOLDER_BYTE)[None]


def symbols(tokens: Tensor) -> Tensor:
    """Map bytes 0..256 to the rows 0..129 of the embedding.

    >>> symbols(torch.tensor([65, 127, 128, 255, 256])).tolist()
    [65, 127, 128, 128, 129]
    """
    return torch.where(tokens == BYTE_VALUES - 1, 129, tokens.clamp(max=128))


def sequence(model: BiMamba, tokens: Tensor, tap: Tap | None = None) -> Tensor:
    """Return the logits [b, t, classes] of byte windows [b, t], int64.

    With a tap, every value of the glossary is shown by name, `layers.i.state` after every byte of
    the forward and then of the reverse scan.
    """
    check_tokens(tokens, BYTE_VALUES)
    config, weights = model.config, model.weights
    rows = symbols(tokens)
    residual = visit(tap, "embed", weights["backbone.embeddings.weight"][rows])
    for i in range(config.num_hidden_layers):
        residual = visit(tap, f"layers.{i}.residual", residual)
        residual = residual + _block(model, i, residual, tap)
    final = _norm(model, "backbone.norm_f", residual)
    final = visit(tap, "final_norm", final)
    return visit(tap, "logits", linear(weights, "lm_head", final))


def _norm(model: BiMamba, name: str, x: Tensor) -> Tensor:
    weight, bias = model.weights[f"{name}.weight"], model.weights[f"{name}.bias"]
    if model.centered:
        return rms_norm(x, weight, model.config.layer_norm_epsilon) + bias
    return layer_norm(x, weight, bias, model.config.layer_norm_epsilon)


def _block(model: BiMamba, i: int, residual: Tensor, tap: Tap | None) -> Tensor:
    config, weights = model.config, model.weights
    prefix, mixer = f"layers.{i}", f"backbone.layers.{i}.mixer"
    u = visit(tap, f"{prefix}.norm", _norm(model, f"backbone.layers.{i}.norm", residual))
    projected = visit(tap, f"{prefix}.in_proj", linear(weights, f"{mixer}.in_proj", u))
    conv_in, z = projected.split(config.intermediate_size, dim=-1)
    z = visit(tap, f"{prefix}.z", z)
    conv_in = visit(tap, f"{prefix}.conv_in", conv_in)
    padded = functional.pad(conv_in, (0, 0, config.look_behind, config.look_ahead))
    conv = depthwise_conv(
        padded, weights[f"{mixer}.conv1d.weight"], weights[f"{mixer}.conv1d.bias"]
    )
    conv = visit(tap, f"{prefix}.conv", conv)
    x = visit(tap, f"{prefix}.x", functional.silu(conv))

    y = visit(tap, f"{prefix}.y", _both_scans(model, i, x, tap))
    gate = visit(tap, f"{prefix}.gate", functional.silu(z))
    gated = visit(tap, f"{prefix}.gated", y * gate)
    out_in = visit(tap, f"{prefix}.out_in", rotate(gated) if model.out_hadamard else gated)
    return visit(tap, f"{prefix}.out", linear(weights, f"{mixer}.out_proj", out_in))


def _both_scans(model: BiMamba, i: int, x: Tensor, tap: Tap | None) -> Tensor:
    config, weights = model.config, model.weights
    prefix, mixer = f"layers.{i}", f"backbone.layers.{i}.mixer"
    sizes = [config.time_step_rank, config.state_size, config.state_size]
    rank, B, C = linear(weights, f"{mixer}.x_proj", x).split(sizes, dim=-1)
    rank = visit(tap, f"{prefix}.dt_rank", rank)
    B = visit(tap, f"{prefix}.B", B)
    C = visit(tap, f"{prefix}.C", C)
    dt_raw = visit(tap, f"{prefix}.dt_raw", linear(weights, f"{mixer}.dt_proj", rank))
    dt = functional.softplus(dt_raw) + config.time_step_floor
    dt = visit(tap, f"{prefix}.dt", dt)

    rate = torch.exp(weights[f"{mixer}.A_log"])
    skip = weights[f"{mixer}.D"] * x
    zero = x.new_zeros(2 * x.shape[0], config.intermediate_size, config.state_size)
    if tap is None:  # both directions at once, as a doubled batch
        doubled = [torch.cat([value, value.flip(1)]) for value in (x, dt, B, C)]
        y, _ = selective_scan(doubled[0], doubled[1], rate, doubled[2], doubled[3], zero)
        forward, reverse = y.chunk(2)
        return forward + reverse.flip(1) + 2 * skip
    zero = zero[: x.shape[0]]
    forward, _ = selective_scan(x, dt, rate, B, C, zero, tap, prefix)
    flipped = [value.flip(1) for value in (x, dt, B, C)]
    reverse, _ = selective_scan(
        flipped[0], flipped[1], rate, flipped[2], flipped[3], zero, tap, prefix
    )
    y_forward = visit(tap, f"{prefix}.y_fwd", forward + skip)
    y_reverse = visit(tap, f"{prefix}.y_bwd", reverse.flip(1) + skip)
    return y_forward + y_reverse
