"""Lower RWKV-5.2 to one forward step graph: token id in, logits and greedy token out.

Glossary: see quant/models/rwkv5.py. The state is kept as [H, value, key], so that one contraction
along the keys reads it, before the token is added. The bonus is a contraction too: of r first and
k, one number a head, times v. The group norm is a norm per head; its weight and bias are a filter
of one tap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cosim.ir.model import Model
from cosim.ir.types import TensorType, i, u
from cosim.ops import Contract, DecayUpdate, Dequantize, GroupScale, Quantize
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.ends import sum_frac
from quant.lower.parts import silu_of
from quant.lower.project import project_out
from quant.lower.rwkv import (
    Shift,
    centred_norm,
    filtered,
    lower_blocks,
    mixed,
    project,
    residual_taps,
)
from quant.lower.scan import STATE_GROUP, STATE_WIDTH
from quant.lower.source import Source
from quant.models.rwkv5 import Config

WIDE = i(28)
BONUS = i(24)
FIRST = i(18)


def lower(name: str, src: Source[Config]) -> Model:
    """Return the integer model of an RWKV-5.2."""
    return lower_blocks(name, src, _time_mix)


def _time_mix(em: Emitter, src: Source[Any], layer: int, shift: Shift) -> Fx:
    c, p, part = src.config, f"layers.{layer}", f"backbone.blocks.{layer}.attention"
    size, bits = (c.attention_hidden_size,), src.ssm.operand_bits

    def projected(what: str, wide: int) -> Fx:
        return project(em, src, p, part, what, mixed(em, src, p, part, what, shift), wide)

    r, k, v = (projected(what, bits) for what in ("receptance", "key", "value"))
    y = _recurrence(em, src, p, part, r, k, v)
    top = float(src.ranges.of(f"{p}.y", size).max())
    n = centred_norm(em, src, f"{p}.heads", y, top, c.group_epsilon)
    row = em.reshape(f"{p}.heads.row", n, (1, *size))
    weight, bias = (src.array(f"{part}.ln_x.{leaf}") for leaf in ("weight", "bias"))
    taps = None if weight is None else weight[None]
    total = filtered(em, src, f"{p}.group_norm", row, taps, bias, (1, *size))
    wide = i(24)
    peak = src.ranges.of(f"{p}.group_norm", size).max()
    grouped = em.requant(f"{p}.group_norm", total, wide, frac_for(peak, wide, src.ssm.headroom))
    gate = silu_of(
        em,
        f"{p}.silu",
        projected("gate", src.ssm.value_bits),
        src.ranges.of(f"{p}.silu", size),
        src.ssm,
    )
    frac = frac_for(src.ranges.of(f"{p}.gated", size).max(), wide, src.ssm.headroom)
    return project_out(
        em,
        src,
        f"{p}.output",
        f"{p}.out",
        em.mul(f"{p}.gated", grouped, gate, wide, frac),
        f"{part}.output.weight",
        size[0] if src.out_hadamard else 0,
        src.ranges.of(f"{p}.out_in", size),
        sum_frac(src, residual_taps(layer)),
        f"{p}.out_in",
    )


def _recurrence(em: Emitter, src: Source[Any], p: str, part: str, r: Fx, k: Fx, v: Fx) -> Fx:
    """Emit y [H, S]: what the state gives to r, and the bonus of this token; then the update."""
    c, fmt = src.config, src.ssm
    heads, s = c.heads, c.head_size
    shape = (heads, s, s)
    r, k = (em.reshape(f"{x.name}.keys", x, (heads, 1, s)) for x in (r, k))
    v_rows = em.reshape(f"{v.name}.rows", v, (heads, s, 1))
    top = src.ranges.of(f"{p}.state", shape).swapaxes(1, 2).max(axis=2, keepdims=True)
    frac = frac_for(top, i(STATE_WIDTH[fmt.state]), fmt.headroom)
    # The lift of v k to the state's binary point must not be negative.
    frac = np.maximum(frac, v.uniform + k.uniform - fmt.decay_bits)
    h = _state(em, src, p, part, shape, frac, v_rows, k)
    y_frac = int(frac_for(src.ranges.of(f"{p}.y", (heads * s,)).max(), WIDE, fmt.headroom))
    total = em.node(
        f"{p}.read.sum", Contract(), [h.name, r.name], np.squeeze(h.frac + r.uniform, axis=-1)
    )
    read = em.requant(f"{p}.read", total, WIDE, y_frac)
    first = src.array(f"{part}.time_faaaa")
    first_frac = 12 if first is None else int(frac_for(np.abs(first).max(), FIRST, 1.0))
    lifted = em.mul(
        f"{p}.lifted",
        r,
        em.fixed(f"{p}.first", first, (heads, 1, s), FIRST, first_frac),
        BONUS,
        r.uniform + first_frac - FIRST.bits + BONUS.bits - em.type(r).dtype.bits,
    )
    own = em.node(f"{p}.bonus.sum", Contract(), [lifted.name, k.name], lifted.uniform + k.uniform)
    peak = src.ranges.of(f"{p}.bonus", (heads,)).max()
    bonus = em.requant(f"{p}.bonus", own, BONUS, frac_for(peak, BONUS, fmt.headroom))
    flat = em.reshape(f"{v.name}.heads", v, (heads, s))
    return em.add(f"{p}.y", read, em.mul(f"{p}.own", flat, bonus, WIDE, y_frac), WIDE)


def _state(
    em: Emitter,
    src: Source[Any],
    p: str,
    part: str,
    shape: tuple[int, ...],
    frac: np.ndarray,
    v: Fx,
    k: Fx,
) -> Fx:
    """Emit the decaying state; return it as it is before this token."""
    fmt = src.ssm
    decay = src.array(f"{part}.time_decay")
    lost = None if decay is None else -np.expm1(-np.exp(decay))
    kind = u(fmt.decay_bits)
    gone = em.fixed(f"{p}.gone", lost, (shape[0], 1, shape[2]), kind, fmt.decay_bits)
    update = DecayUpdate(fmt.decay_bits, i(STATE_WIDTH[fmt.state]))
    lift = em.small(f"{p}.lift", frac + fmt.decay_bits - v.uniform - k.uniform)
    operands = [gone.name, v.name, k.name, lift]
    if fmt.state != "int8 group":
        name = em.builder.state(f"{p}.h", TensorType.full(update.dtype, shape))
        em.builder.update(name, em.node(f"{p}.update", update, [name, *operands], frac).name)
        return Fx(name, frac)
    rule = GroupScale(STATE_GROUP, 8)
    scales = rule.infer([TensorType.full(update.dtype, shape)])
    q0 = em.builder.state(f"{p}.h", TensorType.full(i(8), shape))
    s0 = em.builder.state(f"{p}.h.scale", scales)
    wide = em.node(f"{p}.h.wide", Dequantize(STATE_GROUP), [q0, s0], frac)
    h = em.node(f"{p}.update", update, [wide.name, *operands], frac)
    s1 = em.node(f"{p}.update.scale", rule, [h.name], 0)
    q1 = em.node(f"{p}.update.q", Quantize(STATE_GROUP, i(8)), [h.name, s1.name], 0)
    em.builder.update(q0, q1.name)
    em.builder.update(s0, s1.name)
    return wide
