"""Lower RWKV-4 to one forward step graph: token id in, logits and greedy token out.

Glossary: see quant/models/rwkv4.py and cosim/ops/wkv.py. Keys, bonus and decay are in octaves, by
a factor of log2(e); a decay is a plain addition to an exponent, so that it is never rounded but
once, as a constant of 2^-20 octaves.
"""

from __future__ import annotations

from math import e, log2
from typing import Any

import numpy as np

from cosim.ir.model import Model
from cosim.ir.types import TensorType, i, u
from cosim.ops import Divide, Slice, Wkv
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.ends import sum_frac
from quant.lower.project import project_out
from quant.lower.rwkv import Shift, lower_blocks, mixed, project, residual_taps, sigmoid_of
from quant.lower.source import Source
from quant.models.rwkv4 import Config

OCTAVE_FRAC = 20
ONE_BITS = 20
KEY, EXPONENT = i(24), i(36)
# Below every exponent by so much that sums of nothing weigh nothing.
NOTHING = -(1 << 37)
LOG2_E, LOG2_E_FRAC = u(18), 17
MEAN_GUARD = 4


def lower(name: str, src: Source[Config]) -> Model:
    """Return the integer model of an RWKV-4."""
    return lower_blocks(name, src, _time_mix)


def _time_mix(em: Emitter, src: Source[Any], layer: int, shift: Shift) -> Fx:
    c, p, part = src.config, f"layers.{layer}", f"backbone.blocks.{layer}.attention"
    size, bits = (c.attention_hidden_size,), src.ssm.value_bits

    def projected(what: str, wide: int, per_row: bool) -> Fx:
        x = mixed(em, src, p, part, what, shift)
        return project(em, src, p, part, what, x, wide, per_row)

    key = projected("key", KEY.bits, False)
    value = projected("value", bits, True)
    wkv = _weighted_mean(em, src, p, part, key, value)
    gate = sigmoid_of(em, f"{p}.gate", projected("receptance", bits, False))
    wide = i(24)
    frac = frac_for(src.ranges.of(f"{p}.gated", size).max(), wide, src.ssm.headroom)
    return project_out(
        em,
        src,
        f"{p}.output",
        f"{p}.out",
        em.mul(f"{p}.gated", wkv, gate, wide, frac),
        f"{part}.output.weight",
        size[0] if src.out_hadamard else 0,
        src.ranges.of(f"{p}.out_in", size),
        sum_frac(src, residual_taps(layer)),
        f"{p}.out_in",
    )


def _weighted_mean(em: Emitter, src: Source[Any], p: str, part: str, key: Fx, value: Fx) -> Fx:
    """Emit the recurrence and its division; the mean has the values' points, and guard bits."""
    size = em.type(key).shape
    octave = em.fixed(f"{p}.log2e", np.full(1, log2(e)), (1,), LOG2_E, LOG2_E_FRAC)
    k = em.mul(f"{p}.octaves", key, octave, EXPONENT, OCTAVE_FRAC)
    decay, first = src.array(f"{part}.time_decay"), src.array(f"{part}.time_first")
    fall = None if decay is None else -np.exp(decay) * log2(e)
    bonus = None if first is None else first * log2(e)
    w = em.fixed(f"{p}.decay", fall, size, EXPONENT, OCTAVE_FRAC)
    here = em.fixed(f"{p}.first", bonus, size, EXPONENT, OCTAVE_FRAC)
    now = em.add(f"{p}.now", k, here, EXPONENT)
    nothing = np.tile(np.array([0, 0, NOTHING]), (*size, 1))
    sums = i(em.type(value).dtype.bits + ONE_BITS + 2)
    start = em.const(f"{p}.sums.first", nothing, (*size, 3), sums)
    state = em.builder.state(f"{p}.sums", TensorType.full(sums, (*size, 3)), init=start)
    op = Wkv(OCTAVE_FRAC, ONE_BITS, sums)
    still = em.const(f"{p}.still", np.zeros(size, dtype=np.int64), size, i(1))
    # No scales: sums and exponents stand side by side.
    read = em.builder.add(f"{p}.read", op, state, now.name, value.name, still)
    em.builder.update(state, em.builder.add(f"{p}.update", op, state, k.name, value.name, w.name))
    pair = em.builder.add(f"{p}.pair", Slice(0, 2), read)
    bits = em.type(value).dtype.bits
    frac = np.broadcast_to(value.frac + MEAN_GUARD, size)[:, None]
    op_mean = Divide(MEAN_GUARD, 1 << (bits - 1), i(bits + MEAN_GUARD))
    return em.reshape(f"{p}.wkv", em.node(f"{p}.mean", op_mean, [pair], frac), size)
