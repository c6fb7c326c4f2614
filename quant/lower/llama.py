"""Lower a Llama to one forward step graph: token id in, logits and greedy token out.

Glossary: see quant/models/llama.py. `r` is the residual (i32), `u` and `m` its norms (i16); a value
named `layers.i.what` stands for the tap of that name in the float model. q, k and v are rows of one
matrix, gate and up of another: each reads one value, which is quantised once.
"""

from __future__ import annotations

import numpy as np

from cosim.ir.model import Model
from cosim.ir.types import i
from quant.lower.attention import Heads, Position, attention, position, stacked, turned
from quant.lower.chain import Chain
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.ends import RESIDUAL, embed, head, sum_frac
from quant.lower.linear import Accumulator, lower_linear, section
from quant.lower.parts import norm, silu_of
from quant.lower.project import project_out
from quant.lower.source import Source
from quant.models.llama import Config

# With the scale of a group of activations, sums of thousands of products fit 48 bits.
GATED = i(24)
EMBEDDING = "model.embed_tokens.weight"


def lower(name: str, src: Source[Config]) -> Model:
    """Return the integer model of a Llama."""
    chain = Chain(src.has_weights)
    em = chain.open("step")
    c = src.config
    heads = Heads(
        c.num_attention_heads,
        c.num_key_value_heads,
        c.head_dim,
        min(src.attention.context or c.max_position_embeddings, c.max_position_embeddings),
        c.sliding_window,
    )
    r = embed(em, src, c.vocab_size, c.hidden_size, matrix=EMBEDDING)
    at = position(em, heads, c.rope_theta)
    for layer in range(c.num_hidden_layers):
        r = _add(em, src, layer, r, _attention(em, src, layer, r, at, heads), ATTENTION)
        r = _add(em, src, layer, r, _mlp(em, src, layer, r), MLP)
    last = f"layers.{c.num_hidden_layers - 1}"
    head(em, src, r, c.vocab_size, c.rms_norm_eps, (f"{last}.middle", f"{last}.down"))
    chain.close()
    return chain.model(name)


# (tap of the residual before a half of a layer, tap of what the half adds)
ATTENTION, MLP = ("residual", "out"), ("middle", "down")


def _add(em: Emitter, src: Source[Config], layer: int, r: Fx, out: Fx, taps: tuple[str, str]) -> Fx:
    """Add half a layer's output to the residual, in the binary point of their sum."""
    p = f"layers.{layer}.{taps[1]}"
    moved = em.requant(f"{p}.residual", r, RESIDUAL, out.frac)
    return em.add(f"{p}.sum", moved, out, RESIDUAL)


def _sum_frac(src: Source[Config], layer: int, taps: tuple[str, str]) -> int:
    return sum_frac(src, tuple(f"layers.{layer}.{t}" for t in taps))


def _bias(src: Source[Config], part: str, names: tuple[str, ...]) -> np.ndarray | None:
    found = [src.bias(f"{part}.{n}_proj.bias") for n in names]
    return None if any(b is None for b in found) else np.concatenate(found)  # type: ignore[arg-type]


def _joined(
    em: Emitter, src: Source[Config], p: str, part: str, names: tuple[str, ...], x: Fx, tap: str
) -> Accumulator:
    """Multiply x by several matrices at once."""
    joined = "".join(names) if len(names[0]) == 1 else "_".join(names)
    matrix = f"{part}.{joined}_proj.weight"
    return lower_linear(
        em,
        f"{p}.{joined}_proj",
        x,
        stacked([src.matrices[f"{part}.{n}_proj.weight"] for n in names]),
        src.weight_name(matrix),
        src.act(f"{joined}_proj"),
        src.ranges.of(f"{p}.{tap}", (src.config.hidden_size,)),
    )


def _attention(
    em: Emitter, src: Source[Config], layer: int, r: Fx, at: Position, heads: Heads
) -> Fx:
    c, p, part = src.config, f"layers.{layer}", f"model.layers.{layer}.self_attn"
    fmt, size, wide = src.attention, heads.size, i(src.ssm.value_bits)
    tops = {n: (heads.queries if n == "q" else heads.keys, size) for n in "qkv"}
    u = norm(
        em, f"{p}.norm", r, src.ranges.of(f"{p}.residual", (c.hidden_size,)), c.rms_norm_eps,
        src.ssm.headroom,
    )  # fmt: skip
    acc = _joined(em, src, p, part, ("q", "k", "v"), u, "norm")
    bias, start, found = _bias(src, part, ("q", "k", "v")), 0, {}
    for n, (count, _) in tops.items():
        stop = start + count * size
        peaks = src.ranges.of(f"{p}.{n}", (count * size,))
        dtype = i(fmt.value_bits) if n == "v" else wide
        frac = (
            frac_for(peaks, dtype, 1.0)
            if n == "v"
            else frac_for(peaks.max(), dtype, src.ssm.headroom)
        )
        cut = None if bias is None else bias[start:stop]
        flat = section(em, f"{p}.{n}", acc, start, stop, dtype, frac, cut)
        found[n], start = em.reshape(f"{p}.{n}.heads", flat, (count, size)), stop
    for n, bits in (("q", fmt.query_bits), ("k", fmt.key_bits)):
        peaks = src.ranges.of(f"{p}.{n}_turned", tops[n])
        found[n] = turned(em, f"{p}.{n}_turned", found[n], at.turn, peaks, bits, src.head_order > 0)
    mean = attention(em, p, found["q"], found["k"], found["v"], at, heads, fmt, src.head_order > 0)
    flat = em.reshape(f"{p}.mean.flat", mean, (heads.queries * size,))
    peaks = src.ranges.of(f"{p}.attended", (heads.queries * size,))
    attended = em.requant(
        f"{p}.attended", flat, wide, frac_for(peaks.max(), wide, src.ssm.headroom)
    )
    return project_out(
        em, src, f"{p}.o_proj", f"{p}.out", attended, f"{part}.o_proj.weight", 0, peaks,
        _sum_frac(src, layer, ATTENTION),
    )  # fmt: skip


def _mlp(em: Emitter, src: Source[Config], layer: int, r: Fx) -> Fx:
    c, p, part = src.config, f"layers.{layer}", f"model.layers.{layer}.mlp"
    inner, wide, headroom = c.intermediate_size, i(src.ssm.value_bits), src.ssm.headroom
    m = norm(
        em, f"{p}.mlp_norm", r, src.ranges.of(f"{p}.middle", (c.hidden_size,)), c.rms_norm_eps,
        headroom,
    )  # fmt: skip
    acc = _joined(em, src, p, part, ("gate", "up"), m, "mlp_norm")
    bias = _bias(src, part, ("gate", "up"))
    found = []
    for k, n in enumerate(("gate", "up")):
        frac = frac_for(src.ranges.of(f"{p}.{n}", (inner,)).max(), wide, headroom)
        cut = None if bias is None else bias[k * inner : (k + 1) * inner]
        found.append(section(em, f"{p}.{n}", acc, k * inner, (k + 1) * inner, wide, frac, cut))
    gate = silu_of(em, f"{p}.silu", found[0], src.ranges.of(f"{p}.silu", (inner,)), src.ssm)
    top = src.ranges.of(f"{p}.gated", (inner,)).max()
    gated = em.mul(f"{p}.gated", gate, found[1], GATED, frac_for(top, GATED, headroom))
    return project_out(
        em, src, f"{p}.down_proj", f"{p}.down", gated, f"{part}.down_proj.weight",
        inner if src.out_hadamard else 0, src.ranges.of(f"{p}.down_in", (inner,)),
        _sum_frac(src, layer, MLP), f"{p}.down_in", GATED,
    )  # fmt: skip
