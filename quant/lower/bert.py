"""Lower a BERT encoder: a segment that fills the first keys and values, then one a layer.

Every token attends to all others, so that a layer's keys and values must all be there before its
first token attends: segment `in` (embedding, norm, q, k and v of layer 0) writes them to caches;
`layer.i` starts from what these then are, attends, and fills those of layer i + 1. Nothing is
padded: a text is a window of its own length. Glossary: see quant/models/bert.py; a value named
`layers.i.what` stands for the tap of that name. The residual is a norm's result (i24 here).
`hidden` is the last one; `embedding` its sum over the tokens so far, which at the last token points
where the mean of all points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cosim.ir.model import Model
from cosim.ir.types import TensorType, i, smallest_type, u
from cosim.ops import Add, Attend, Center, Clip, Count, Embed
from quant.lower.attention import Heads, mean_of, score_scale, stacked, write_caches
from quant.lower.chain import Chain
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.linear import lower_linear, section
from quant.lower.parts import UNIT_LINE, ZERO_LINE, norm
from quant.lower.source import Source
from quant.models.bert import Config
from quant.tables import gelu, gelu_tanh, relu, uniform_table

SUM, NORM_IN, NORMED = i(32), i(22), i(24)
GAIN, EMBEDDING_SUM = i(16), i(32)
ACTIVATION_REACH, SEGMENTS_LOG2 = 8.0, 5
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": relu,
}


@dataclass(frozen=True)
class Cached:
    """Hold what a layer's segment needs of the one before: which it was, and its k and v."""

    segment: str
    k: Fx
    v: Fx


def lower(name: str, src: Source[Config]) -> Model:
    """Return the integer model of a BERT encoder."""
    chain = Chain(src.has_weights)
    c = src.config
    context = min(src.attention.context or c.max_position_embeddings, c.max_position_embeddings)
    heads = Heads(
        c.num_attention_heads,
        c.num_attention_heads,
        c.hidden_size // c.num_attention_heads,
        context,
    )
    em = chain.open("in")
    now = _position(em, heads)
    r = _embed(em, src, now, heads)
    cached = _fill(chain, src, 0, r, now, heads)
    for layer in range(c.num_hidden_layers):
        r = _attend(chain, src, layer, cached, heads)
        if layer + 1 < c.num_hidden_layers:
            cached = _fill(chain, src, layer + 1, r, "position.now", heads)
    _give_embedding(chain.em, src, r)
    chain.close()
    return chain.model(name)


def _position(em: Emitter, heads: Heads) -> str:
    """Count the tokens; return the position of the one at hand."""
    t = TensorType(u(heads.context.bit_length()), (), 0, heads.context)
    at = em.builder.state("position", t)
    em.builder.update(at, em.builder.add("position.next", Count(heads.context), at))
    return em.builder.add("position.now", Clip(0, heads.context - 1), at)


def _embed(em: Emitter, src: Source[Config], now: str, heads: Heads) -> Fx:
    """Add the word's row and the position's, which has the row of the first kind of text in it."""
    c = src.config
    last, d = c.vocab_size - 1, c.hidden_size
    token = em.builder.input("token", TensorType(smallest_type(0, last), (), 0, last))
    top = src.ranges.of("embed", (d,)).max()
    frac = int(frac_for(np.asarray(2 * top), SUM, src.ssm.headroom))
    words = src.array("embeddings.word_embeddings.weight")
    places = src.array("embeddings.position_embeddings.weight")
    kinds = src.array("embeddings.token_type_embeddings.weight")
    if places is not None and kinds is not None:
        places = places[: heads.context] + kinds[0]
    rows = []
    for name, table, count, index in (
        ("word", words, c.vocab_size, token),
        ("position", places, heads.context, now),
    ):
        stored_frac = 10
        if table is not None:
            stored_frac = int(frac_for(np.abs(table).max(), i(src.ssm.embed_bits), 1.0))
        full_name = src.weight_name(f"embeddings.{name}_embeddings.weight")
        stored = em.fixed(full_name, table, (count, d), i(src.ssm.embed_bits), stored_frac)
        row = em.node(f"embed.{name}.row", Embed(), [index, stored.name], stored_frac)
        rows.append(em.requant(f"embed.{name}", row, SUM, frac))
    total = em.add("embed", rows[0], rows[1], SUM)
    return _norm(em, src, "embed.norm", total, "embeddings.LayerNorm", "layers.0.residual")


def _norm(em: Emitter, src: Source[Config], name: str, x: Fx, weights: str, tap: str) -> Fx:
    """Centre, normalise, weigh and shift x [D]; the result has one binary point."""
    d = src.config.hidden_size
    headroom = src.ssm.headroom
    narrow = em.requant(f"{name}.in", x, NORM_IN, x.frac - (SUM.bits - NORM_IN.bits))
    centred = em.node(f"{name}.centred", Center(), [narrow.name], narrow.frac)
    y = norm(em, f"{name}.rms", centred, np.zeros(1), src.config.layer_norm_eps, headroom)
    gain, shift = src.array(f"{weights}.weight"), src.array(f"{weights}.bias")
    gain_frac = 12 if gain is None else int(frac_for(np.abs(gain).max(), GAIN, 1.0))
    by = em.fixed(f"{weights}.weight", gain, (d,), GAIN, gain_frac)
    frac = int(frac_for(src.ranges.of(tap, (d,)).max(), NORMED, headroom))
    weighted = em.mul(f"{name}.weighted", y, by, NORMED, frac)
    bias = em.fixed(f"{weights}.bias", shift, (d,), NORMED, frac)
    return em.add(f"{name}.out", weighted, bias, NORMED)


def _fill(chain: Chain, src: Source[Config], layer: int, r: Fx, now: str, heads: Heads) -> Cached:
    """Emit q, k and v of a layer; write k and v to caches; close the segment."""
    em, c = chain.em, src.config
    p, part = f"layers.{layer}", f"encoder.layer.{layer}.attention.self"
    d, fmt, wide = c.hidden_size, src.attention, i(src.ssm.value_bits)
    names = ("query", "key", "value")
    acc = lower_linear(
        em,
        f"{p}.qkv",
        r,
        stacked([src.matrices[f"{part}.{n}.weight"] for n in names]),
        src.weight_name(f"{part}.qkv.weight"),
        src.act("query"),
        src.ranges.of(f"{p}.residual", (d,)),
    )
    found = {}
    for k, n in enumerate(names):
        peaks, bias = src.ranges.of(f"{p}.{n}", (d,)), src.bias(f"{part}.{n}.bias")
        dtype, frac = wide, frac_for(peaks.max(), wide, src.ssm.headroom)
        if n == "value":
            dtype = i(fmt.value_bits)
            frac = frac_for(peaks, dtype, 1.0)
        flat = section(em, f"{p}.{n}", acc, k * d, (k + 1) * d, dtype, frac, bias)
        found[n] = em.reshape(f"{p}.{n}.heads", flat, (heads.queries, heads.size))
    for n, bits in (("query", fmt.query_bits), ("key", fmt.key_bits)):
        peaks = src.ranges.of(f"{p}.{n}", (heads.queries, heads.size)).max(axis=-1, keepdims=True)
        found[n] = em.requant(f"{p}.{n}.narrow", found[n], i(bits), frac_for(peaks, i(bits), 1.0))
    write_caches(em, p, found["key"], found["value"], now, heads)
    chain.give("r", r)
    chain.give("q", found["query"])
    segment = em.builder.name
    chain.close()
    return Cached(segment, found["key"], found["value"])


def _attend(chain: Chain, src: Source[Config], layer: int, cached: Cached, heads: Heads) -> Fx:
    """Open a layer's segment; attend to the caches; return the layer's result."""
    em, c = chain.open(f"layer.{layer}"), src.config
    p, part = f"layers.{layer}", f"encoder.layer.{layer}"
    d, fmt, wide = c.hidden_size, src.attention, i(src.ssm.value_bits)
    r, q = chain.bring("r"), chain.bring("q")
    now = _position(em, heads)
    read = []
    for what, bits in (("keys", fmt.key_bits), ("values", fmt.value_bits)):
        shape = (heads.places, heads.keys, heads.size)
        state = em.builder.state(f"{p}.{what}", TensorType.full(i(bits), shape))
        em.builder.update(state, state)
        chain.begin(state, f"{cached.segment}/{p}.{what}")
        read.append(state)
    count = TensorType(u(heads.context.bit_length()), (), 0, heads.context)
    length = em.builder.state("length", count)
    em.builder.update(length, length)
    chain.begin(length, f"{cached.segment}/position")
    before = em.builder.add(
        "newest.below", Add(i(32)), length, em.small("newest.one", np.array(-1))
    )
    newest = em.builder.add("newest", Clip(0, heads.context - 1), before)
    scale, shift = score_scale(em, p, q, cached.k, heads, False)
    op = Attend(min(fmt.tile, heads.places), heads.places, causal=False)
    sums = em.builder.add(f"{p}.sums", op, q.name, *read, now, scale, shift, newest)
    mean = mean_of(em, p, sums, cached.v, heads, fmt)
    flat = em.reshape(f"{p}.mean.flat", mean, (d,))
    peaks = src.ranges.of(f"{p}.attended", (d,))
    frac = frac_for(peaks.max(), wide, src.ssm.headroom)
    attended = em.requant(f"{p}.attended", flat, wide, frac)
    first = _sum(em, src, p, ("out", "first_sum"), r, attended, f"{part}.attention.output", peaks)
    m = _norm(em, src, f"{p}.middle", first, f"{part}.attention.output.LayerNorm", f"{p}.middle")
    second = _feed_forward(em, src, layer, m)
    tap = "hidden" if layer + 1 == c.num_hidden_layers else f"layers.{layer + 1}.residual"
    return _norm(em, src, f"{p}.norm", second, f"{part}.output.LayerNorm", tap)


def _sum(
    em: Emitter,
    src: Source[Config],
    p: str,
    taps: tuple[str, str],
    r: Fx,
    x: Fx,
    part: str,
    peaks: np.ndarray,
) -> Fx:
    """Multiply x by the matrix `part.dense` and add r, in the binary point of their sum."""
    d, matrix = src.config.hidden_size, f"{part}.dense.weight"
    out, total = taps
    top = max(src.ranges.of(f"{p}.{t}", (d,)).max() for t in taps)
    frac = int(frac_for(np.asarray(2 * top), SUM, src.ssm.headroom))
    acc = lower_linear(
        em, f"{p}.{out}.dense", x, src.matrices[matrix], src.weight_name(matrix), src.act("dense"),
        peaks,
    )  # fmt: skip
    done = section(em, f"{p}.{out}", acc, 0, d, SUM, frac, src.bias(f"{part}.dense.bias"))
    return em.add(f"{p}.{total}", em.requant(f"{p}.{total}.residual", r, SUM, frac), done, SUM)


def _feed_forward(em: Emitter, src: Source[Config], layer: int, m: Fx) -> Fx:
    """Emit W_out f(W_in m) + m."""
    c, p, part = src.config, f"layers.{layer}", f"encoder.layer.{layer}"
    inner, wide, headroom = c.intermediate_size, i(src.ssm.value_bits), src.ssm.headroom
    matrix = f"{part}.intermediate.dense.weight"
    acc = lower_linear(
        em, f"{p}.up.dense", m, src.matrices[matrix], src.weight_name(matrix), src.act("dense"),
        src.ranges.of(f"{p}.middle", (c.hidden_size,)),
    )  # fmt: skip
    frac = frac_for(src.ranges.of(f"{p}.up", (inner,)).max(), wide, headroom)
    up = section(
        em, f"{p}.up", acc, 0, inner, wide, frac, src.bias(f"{part}.intermediate.dense.bias")
    )
    peaks = src.ranges.of(f"{p}.down_in", (inner,))
    out_frac = int(frac_for(peaks.max(), wide, headroom))
    table = uniform_table(
        FUNCTIONS[c.hidden_act], up.uniform, out_frac, wide, ACTIVATION_REACH, SEGMENTS_LOG2,
        (ZERO_LINE, UNIT_LINE),
    )  # fmt: skip
    down_in = em.table(f"{p}.down_in", up, table, out_frac)
    return _sum(em, src, p, ("down", "second_sum"), m, down_in, f"{part}.output", peaks)


def _give_embedding(em: Emitter, src: Source[Config], r: Fx) -> None:
    """Give the last residual, and its sum over the tokens so far."""
    d = src.config.hidden_size
    total = em.builder.state("sum", TensorType.full(EMBEDDING_SUM, (d,)))
    added = em.add("embedding", r, Fx(total, r.frac), EMBEDDING_SUM)
    em.builder.update(total, added.name)
    em.builder.output("hidden", r.name)
    em.builder.output("embedding", added.name)
