"""Lower what RWKV-4 and RWKV-5 share: norms, token shift, channel mix, both ends.

Glossary (D hidden size): r is the residual (i32), n its norm without weight and bias (i16). A token
shift mixes u = w n + b with the one before; with weight and bias inside it is a filter of two taps,
    mix u_t + (1 - mix) u_(t-1) = (mix w) n_t + ((1 - mix) w) n_(t-1) + b,
over a window that begins at n = -b / w, where u is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cosim.ir.model import Model
from cosim.ir.types import TensorType, i, u
from cosim.ops import Argmax, Center, Clip, Fir, Push
from quant.lower.chain import Chain
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.ends import RESIDUAL, embed, sum_frac
from quant.lower.linear import lower_linear, section
from quant.lower.parts import CONV_BIAS, SEGMENTS_LOG2, ZERO_LINE, norm
from quant.lower.project import project_out
from quant.lower.source import Source
from quant.models.rwkv import LAST_EPSILON
from quant.tables import sigmoid, uniform_table

# One bit more than the mean's rounding needs, so that what is centred fits a norm's 24 bits.
CENTRE_INPUT = i(22)
SIGMOID_REACH = 16.0
SIGMOID_FRAC = 17
ONE_LINE = (0.0, 1.0)

TimeMix = Callable[[Emitter, Source[Any], int, "Shift"], Fx]
"""Emit a layer's time mix of a token shift; return its output, i32 in the residual's point."""


def lower_blocks(name: str, src: Source[Any], time_mix: TimeMix) -> Model:
    """Return the integer model of an RWKV, given its family's time mix."""
    chain, c = Chain(src.has_weights), src.config
    em = chain.open("step")
    r = embed(em, src, c.vocab_size, c.hidden_size)
    for layer in range(c.num_hidden_layers):
        p, block = f"layers.{layer}", f"backbone.blocks.{layer}"
        shift = token_shift(em, src, p, f"{block}.ln1", r, f"{p}.residual")
        r = _add(em, src, f"{p}.middle", r, time_mix(em, src, layer, shift), residual_taps(layer))
        shift = token_shift(em, src, f"{p}.ffn", f"{block}.ln2", r, f"{p}.middle")
        r = _add(em, src, f"{p}.sum", r, _channel_mix(em, src, layer, shift), fed_taps(layer))
    _head(em, src, r)
    chain.close()
    return chain.model(name)


def residual_taps(layer: int) -> tuple[str, str]:
    """Name the two values whose sum the residual is after the time mix."""
    return f"layers.{layer}.residual", f"layers.{layer}.out"


def fed_taps(layer: int) -> tuple[str, str]:
    """Name the two values whose sum the residual is after the channel mix."""
    return f"layers.{layer}.middle", f"layers.{layer}.ffn.out"


def _add(em: Emitter, src: Source[Any], name: str, r: Fx, out: Fx, taps: tuple[str, str]) -> Fx:
    moved = em.requant(f"{name}.in", r, RESIDUAL, sum_frac(src, taps))
    return em.add(name, moved, out, RESIDUAL)


def centred_norm(
    em: Emitter, src: Source[Any], name: str, x: Fx, absmax: float, epsilon: float
) -> Fx:
    """Centre the last axis and divide it by its deviation, to i16; weights stay outside."""
    frac = frac_for(np.asarray(absmax), CENTRE_INPUT, src.ssm.headroom)
    narrow = em.requant(f"{name}.narrow", x, CENTRE_INPUT, frac)
    centred = em.node(f"{name}.centred", Center(), [narrow.name], narrow.frac)
    return norm(em, f"{name}.plain", centred, np.asarray(absmax), epsilon, src.ssm.headroom)


@dataclass(frozen=True)
class Shift:
    """Hold the window of the last two norms [2, D], and the norm's weight and bias."""

    window: Fx
    weight: np.ndarray | None
    bias: np.ndarray | None


def token_shift(em: Emitter, src: Source[Any], p: str, ln: str, r: Fx, tap: str) -> Shift:
    """Normalise the residual, and keep it for the next token."""
    size = src.config.hidden_size
    top = float(src.ranges.of(tap, (size,)).max())
    n = centred_norm(em, src, f"{p}.norm", r, top, src.config.layer_norm_epsilon)
    weight, bias = src.array(f"{ln}.weight"), src.array(f"{ln}.bias")
    before = None
    if weight is not None and bias is not None:
        safe = np.where(np.abs(weight) > 1e-9, weight, 1e9)
        before = np.stack([-bias / safe] * 2)
    first = em.fixed(f"{p}.shift.first", before, (2, size), i(16), n.frac)
    kind = TensorType.full(i(16), (2, size))
    state = em.builder.state(f"{p}.shift", kind, init=first.name)
    window = em.node(f"{p}.shift.push", Push(), [state, n.name], n.frac)
    em.builder.update(state, window.name)
    return Shift(window, weight, bias)


def mixed(em: Emitter, src: Source[Any], p: str, part: str, what: str, shift: Shift) -> Fx:
    """Emit the token shift that a matrix reads: `value_bits`, one binary point."""
    size = src.config.hidden_size
    mix = src.array(f"{part}.time_mix_{what}")
    taps = None
    if mix is not None and shift.weight is not None:
        taps = np.stack([(1 - mix) * shift.weight, mix * shift.weight])
    total = filtered(em, src, f"{p}.{what}_in", shift.window, taps, shift.bias, (2, size))
    wide = i(src.ssm.value_bits)
    top = src.ranges.of(f"{p}.{what}_in", (size,)).max()
    return em.requant(f"{p}.{what}_in", total, wide, frac_for(top, wide, src.ssm.headroom))


def filtered(
    em: Emitter,
    src: Source[Any],
    name: str,
    window: Fx,
    taps: np.ndarray | None,
    bias: np.ndarray | None,
    shape: tuple[int, int],
) -> Fx:
    """Emit the sum of a window [K, D] times real taps, and a bias; exact but for their rounding."""
    kind = i(src.ssm.tap_bits)
    tap_frac = np.full(shape[1], kind.bits - 2)
    if taps is not None and bias is not None:
        tap_frac = frac_for(np.abs(taps).max(axis=0), kind, 1.0)
        tap_frac = np.minimum(tap_frac, frac_for(np.abs(bias), CONV_BIAS, 1.0) - window.frac)
    frac = window.frac + tap_frac
    w = em.fixed(f"{name}.taps", taps, shape, kind, tap_frac)
    b = em.fixed(f"{name}.bias", bias, shape[1:], CONV_BIAS, frac)
    return em.node(f"{name}.fir", Fir(), [window.name, w.name, b.name], frac)


def project(
    em: Emitter, src: Source[Any], p: str, part: str, what: str, x: Fx, bits: int,
    per_row: bool = False, most_frac: np.ndarray | int = 40,
) -> Fx:  # fmt: skip
    """Emit W x of a token shift x, to `bits`; one binary point, or `per_row` one each."""
    matrix = f"{part}.{what}.weight"
    rows, size = src.shapes[matrix]
    acc = lower_linear(
        em,
        f"{p}.{what}",
        x,
        src.matrices[matrix],
        src.weight_name(matrix),
        src.act(what),
        src.ranges.of(f"{p}.{what}_in", (size,)),
    )
    top = src.ranges.of(f"{p}.{what}", (rows,))
    frac = frac_for(top if per_row else top.max(), i(bits), src.ssm.room(bits))
    return section(em, f"{p}.{what}", acc, 0, rows, i(bits), np.minimum(frac, most_frac))


def sigmoid_of(em: Emitter, name: str, x: Fx) -> Fx:
    """Apply the logistic function to a value of one binary point; out u18 in 0..1."""
    table = uniform_table(
        sigmoid, x.uniform, SIGMOID_FRAC, u(18), SIGMOID_REACH, SEGMENTS_LOG2, (ZERO_LINE, ONE_LINE)
    )
    return em.table(name, x, table, SIGMOID_FRAC)


def _channel_mix(em: Emitter, src: Source[Any], layer: int, shift: Shift) -> Fx:
    c, p = src.config, f"layers.{layer}.ffn"
    part, bits = f"backbone.blocks.{layer}.feed_forward", src.ssm.value_bits
    inner = (c.intermediate_size,)
    key_in = mixed(em, src, p, part, "key", shift)
    key = project(em, src, p, part, "key", key_in, bits)
    positive = em.node(f"{p}.relu", Clip(0, i(bits).hi), [key.name], key.frac)
    wide, room = i(24), src.ssm.headroom**2
    frac = frac_for(src.ranges.of(f"{p}.squared", inner).max(), wide, room)
    squared = em.mul(f"{p}.squared", positive, positive, wide, frac)
    peak = src.ranges.of(f"{p}.value", (c.hidden_size,)).max()
    value = project_out(
        em,
        src,
        f"{p}.value",
        f"{p}.value",
        squared,
        f"{part}.value.weight",
        c.intermediate_size if src.out_hadamard else 0,
        src.ranges.of(f"{p}.value_in", inner),
        int(frac_for(peak, RESIDUAL, src.ssm.headroom)),
        f"{p}.value_in",
    )
    receptance_in = mixed(em, src, p, part, "receptance", shift)
    receptance = project(em, src, p, part, "receptance", receptance_in, bits)
    gate = sigmoid_of(em, f"{p}.gate", receptance)
    return em.mul(f"{p}.out", value, gate, RESIDUAL, sum_frac(src, fed_taps(layer)))


def _head(em: Emitter, src: Source[Any], r: Fx) -> None:
    """Normalise, project to the vocabulary (i32 logits) and choose the greedy token."""
    c = src.config
    top = sum(src.ranges.of(t, (c.hidden_size,)).max() for t in fed_taps(c.num_hidden_layers - 1))
    n = centred_norm(em, src, "final_norm", r, float(top), LAST_EPSILON)
    acc = lower_linear(
        em,
        "lm_head",
        n,
        src.matrices["lm_head.weight"],
        src.weight_name("lm_head.weight"),
        src.act("lm_head"),
        src.ranges.of("final_norm", (c.hidden_size,)),
    )
    # Folding the last norm makes a bias, which a config alone does not speak of.
    bias = src.bias("lm_head.bias")
    bias = np.zeros(c.vocab_size) if bias is None else bias
    peak = src.ranges.of("logits", (c.vocab_size,)).max()
    frac = min(int(frac_for(peak, i(32), 8.0)), 20)
    logits = section(em, "logits", acc, 0, c.vocab_size, i(32), frac, bias)
    em.builder.output("logits", logits.name)
    em.builder.output("next", em.node("next", Argmax(), [logits.name], 0).name)
