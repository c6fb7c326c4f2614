"""Lower the state-space part of LightMamba's released graph; see quant/lower/lightmamba.py.

The state [H, N, P] is stored as 8-bit codes with a shift per 8 channels ("type 1"); for the
read-out the same i32 state is quantised again with a shift per 8 states ("type 2"). Two options
mend the two defects of the released formats: see `LightFormat`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.types import TensorType, i
from cosim.ops import Add, DecayUpdate, Dequantize, GroupRead, ShiftDecay
from quant.formats import SsmFormat
from quant.lower.emit import Emitter, Fx
from quant.lower.lightmamba_conv import Activated, step_look_up
from quant.lower.lightmamba_scaled import (
    GROUP,
    MOST,
    SHIFT,
    WIDE,
    Scaled,
    fixed_constant,
    product,
    quantise,
    reshaped,
    scaled,
    scaled_constant,
    transposed,
    truncate,
)
from quant.lower.parts import decay_complement, step_size
from quant.lower.source import Source
from quant.models.mamba2 import Config

FRAC, STATE_FRAC = 10, 19
DECAY_FRAC, READ_DOWN = 6, 17


@dataclass(frozen=True)
class LightFormat:
    """Say what of the released formats is mended.

    `fine_decay`: 1 - decay with 20 fraction bits from an unquantised time step, rounded, instead of
    a decay of 6 bits. `state_bits`: width of the stored state's codes; released 8.
    """

    fine_decay: bool = False
    state_bits: int = 8


def ssm(
    em: Emitter,
    src: Source[Config],
    layer: int,
    parts: Activated,
    dt_in: Fx,
    form: LightFormat,
) -> Fx:
    """Return y = C h + D x [inner], i32 with 12 fraction bits."""
    c, p, mixer = src.config, f"layers.{layer}", f"backbone.layers.{layer}.mixer"
    heads, channels, n = c.num_heads, c.head_dim, c.state_size
    bias = fixed_constant(em, f"{p}.dt_bias", src.array(f"{mixer}.dt_bias"), (heads,), FRAC, WIDE)
    v = em.node(f"{p}.dt_raw", Add(WIDE), [dt_in.name, bias.name], FRAC)
    dt = scaled(em, f"{p}.dt", step_look_up(em, f"{p}.dt", v, "softplus", FRAC), 8)
    db = product(
        em,
        f"{p}.dB",
        reshaped(em, dt, (1, heads), "row"),
        reshaped(em, parts.b, (n, 1), "column"),
        0,
    )
    db_codes = transposed(em, scaled(em, f"{p}.dB", db, 8), (1, 0), "turned")
    x = reshaped(em, parts.x, (heads, 1, channels), "heads")
    drive = product(em, f"{p}.dBx", reshaped(em, db_codes, (heads, n, 1), "heads"), x, 11)
    h = _updated(em, src, layer, dt, v, drive, form)
    skip = scaled_constant(em, f"{p}.D", src.array(f"{mixer}.D"), (heads, 1), FRAC, 8)
    x_d = product(em, f"{p}.xD", reshaped(em, parts.x, (heads, channels), "rows"), skip, 8)
    total = _read(em, p, h, reshaped(em, parts.c, (1, n, 1), "column"))
    y = em.node(f"{p}.y", Add(WIDE), [total.name, x_d.name], total.frac)
    return em.reshape(f"{p}.y_flat", y, (heads * channels,))


def _updated(
    em: Emitter, src: Source[Config], layer: int, dt: Scaled, v: Fx, drive: Fx, form: LightFormat
) -> Fx:
    """Decay the stored state, add dB x, store it again; return it before it is stored, i32."""
    c, p = src.config, f"layers.{layer}"
    shape = (c.num_heads, c.state_size, c.head_dim)
    groups = -(-c.head_dim // GROUP)
    q = em.builder.state(f"{p}.ssm.h", TensorType.full(i(form.state_bits), shape))
    s = em.builder.state(f"{p}.ssm.h.shift", TensorType.full(SHIFT, (*shape[:2], groups)))
    if form.fine_decay:
        h = _finely_decayed(em, src, layer, Fx(q, np.asarray(STATE_FRAC)), s, v, drive)
    else:
        a = reshaped(em, _decay(em, src, layer, dt), (c.num_heads, 1, 1), "heads")
        op = ShiftDecay(GROUP, DECAY_FRAC, WIDE)
        inputs = [q, s, a.codes.name, a.shifts.name, drive.name]
        h = em.node(f"{p}.ssm.update", op, inputs, STATE_FRAC)
    codes, shifts = quantise(em, f"{p}.ssm.update", h, form.state_bits)
    em.builder.update(q, codes.name)
    em.builder.update(s, shifts.name)
    return h


def _decay(em: Emitter, src: Source[Config], layer: int, dt: Scaled) -> Scaled:
    """Return exp(dt A) [H] as 8-bit codes of a table with 6 fraction bits."""
    p, heads = f"layers.{layer}", src.config.num_heads
    log_rate = src.array(f"backbone.layers.{layer}.mixer.A_log")
    rate = None if log_rate is None else -np.exp(log_rate)
    a = scaled_constant(em, f"{p}.A", rate, (heads,), FRAC, 16)
    log_decay = product(em, f"{p}.dA_log", dt, a, FRAC)
    return scaled(em, f"{p}.dA", step_look_up(em, f"{p}.dA", log_decay, "exp", DECAY_FRAC), 8)


def _finely_decayed(
    em: Emitter, src: Source[Config], layer: int, q: Fx, shift: str, v: Fx, drive: Fx
) -> Fx:
    """Decay the state by 1 - k with 20 fraction bits of k, rounding half up."""
    c, p, fmt = src.config, f"layers.{layer}", SsmFormat()
    raw = em.requant(f"{p}.fine.raw", v, i(16), FRAC)
    top = src.ranges.of(f"{p}.dt", (c.num_heads,))
    dt = step_size(em, f"{p}.fine.dt", raw, top, 0.0, (0.0, np.inf), fmt)
    log_rate = src.array(f"backbone.layers.{layer}.mixer.A_log")
    rate = None if log_rate is None else np.exp(log_rate)
    k = decay_complement(em, f"{p}.fine.k", dt, rate, (c.num_heads,), fmt)
    k = em.reshape(f"{p}.fine.k_heads", k, (c.num_heads, 1, 1))
    h = em.node(f"{p}.fine.h", Dequantize(GROUP), [q.name, shift], STATE_FRAC)
    one = em.small(f"{p}.fine.one", np.ones((1, 1, 1)))
    lift = em.small(f"{p}.fine.lift", np.full((1, 1, 1), fmt.decay_bits))
    op = DecayUpdate(fmt.decay_bits, WIDE)
    inputs = [h.name, k.name, drive.name, one, lift]
    return em.node(f"{p}.ssm.update", op, inputs, STATE_FRAC)


def _read(em: Emitter, p: str, h: Fx, c: Scaled) -> Fx:
    """Quantise the state along N and contract it with C; i32 [H, P] with 12 fraction bits."""
    inputs = [h.name, c.codes.name, c.shifts.name]
    total = em.node(f"{p}.ssm.read", GroupRead(GROUP, 8, MOST), inputs, STATE_FRAC + c.frac)
    return truncate(em, f"{p}.ssm.y", total, READ_DOWN)
