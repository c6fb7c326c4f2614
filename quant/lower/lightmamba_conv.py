"""Lower the convolution and SiLU of LightMamba's released graph; see quant/lower/lightmamba.py.

The windows hold the codes of the last tokens, as the release does, and a shift for each of them,
where the release has one for 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.types import TensorType, i
from cosim.ops import Push, ShiftFir
from quant.lower.emit import Emitter, Fx
from quant.lower.lightmamba_scaled import (
    GROUP,
    Scaled,
    cut,
    grouped_constant,
    quantise,
    scaled,
    spread,
    truncate,
)
from quant.lower.lightmamba_tables import released
from quant.lower.source import Source
from quant.models.mamba2 import Config

TAP_FRAC = 10


@dataclass(frozen=True)
class Activated:
    """Hold x [inner], B [N], C [N] and z [inner] after SiLU."""

    x: Scaled
    b: Scaled
    c: Scaled
    z: Scaled


def convolved(em: Emitter, src: Source[Config], layer: int, conv_in: Fx) -> Fx:
    """Quantise to 8 bits and filter over the last tokens; i32 with 10 fraction bits."""
    c, p, mixer = src.config, f"layers.{layer}", f"backbone.layers.{layer}.mixer"
    channels, width = c.conv_channels, c.conv_kernel
    codes, shifts = quantise(em, f"{p}.conv_in", conv_in, 8)
    each = spread(em, f"{p}.conv_in.s", shifts, channels)
    windows = [
        _window(em, f"{p}.conv.window{suffix}", value, (width, channels))
        for suffix, value in (("", codes), (".s", each))
    ]
    taps, bias = src.array(f"{mixer}.conv1d.weight"), src.array(f"{mixer}.conv1d.bias")
    if bias is None and em.has_weights:
        bias = np.zeros(channels)
    frac = conv_in.uniform + TAP_FRAC
    rows = None if taps is None else taps[:, 0, :].T
    w = grouped_constant(em, f"{p}.conv.taps", rows, (width, channels), TAP_FRAC)
    b = grouped_constant(em, f"{p}.conv.bias", bias, (channels,), frac)
    total = em.node(f"{p}.conv.fir", ShiftFir(GROUP), [*windows, *w, *b], frac)
    return truncate(em, f"{p}.conv", total, TAP_FRAC)


def _window(em: Emitter, name: str, x: Fx, shape: tuple[int, int]) -> str:
    """Keep the last values of x; return the window with x in it."""
    window = em.builder.state(name, TensorType.full(em.type(x).dtype, shape))
    pushed = em.builder.add(f"{name}.push", Push(), window, x.name)
    em.builder.update(window, pushed)
    return pushed


def activated(em: Emitter, src: Source[Config], layer: int, conv: Fx, z: Fx) -> Activated:
    """Apply SiLU by table to x, B, C and to z, and quantise to 8 bits.

    The released machine has one such unit, which takes x and z by turns; here each has its own, so
    that neither waits for the other. The groups of 8 are the same.
    """
    c, p = src.config, f"layers.{layer}"
    act = step_look_up(em, f"{p}.act", conv, "silu", 10)
    codes, shifts = quantise(em, f"{p}.act", act, 8)
    ends = np.cumsum([0, c.intermediate_size, c.state_size, c.state_size]).tolist()
    x, b, c_out = (
        cut(em, f"{p}.{what}", codes, shifts, *ends[k : k + 2])
        for k, what in enumerate(("x", "B", "C"))
    )
    return Activated(
        x, b, c_out, scaled(em, f"{p}.gate", step_look_up(em, f"{p}.gate", z, "silu", 10), 8)
    )


def step_look_up(em: Emitter, name: str, x: Fx, function: str, frac: int) -> Fx:
    """Look a released function up; its tables are declared once."""
    steps = released(function)
    table = f"table.{function}"
    if f"{table}.codes" not in em.builder.types:
        em.builder.const(f"{table}.codes", steps.codes, i(8))
        em.small(f"{table}.shifts", steps.shifts)
    return em.node(name, steps.op, [x.name, f"{table}.codes", f"{table}.shifts"], frac)
