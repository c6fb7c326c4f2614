"""Lower the pieces that Mamba families share: norm, convolution with SiLU, step size and decay."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import isqrt

import numpy as np

from cosim.ir.types import TensorType, i, u
from cosim.ops import Clip, Fir, Push, RmsNorm
from quant.formats import SsmFormat
from quant.lower.emit import Emitter, Fx, frac_for
from quant.tables import log_table, one_minus_exp, silu, softplus, uniform_table

# A table of 32 segments per unit: SiLU and softplus within 1e-4 (measured per table).
SEGMENTS_LOG2 = 5
SILU_REACH = 12.0
SOFTPLUS_REACH = 16.0
DECAY_MANTISSA_BITS = 5
# v = dt |A| saturates at 16, where the decay e^-16 is below every LSB here.
V_BITS, V_FRAC = 24, 20
NORM_INPUT = i(24)
CONV_BIAS = i(32)
ZERO_LINE = (0.0, 0.0)
UNIT_LINE = (1.0, 0.0)


def norm(em: Emitter, name: str, x: Fx, absmax: np.ndarray, epsilon: float, headroom: float) -> Fx:
    """Normalise x [D] by its root mean square to i16; weights are folded elsewhere."""
    size = em.type(x).shape[-1]
    narrow = x
    if em.type(x).dtype.bits > NORM_INPUT.bits:
        frac = frac_for(absmax.max(), NORM_INPUT, headroom)
        narrow = em.requant(f"{name}.in", x, NORM_INPUT, frac)
    eps = max(1, round(epsilon * size * 4.0**narrow.uniform))
    # The largest output is sqrt(D), of a one-hot input; one LSB more for the root's own error.
    out_frac = (i(16).hi // (isqrt(size) + 2)).bit_length() - 1
    return em.node(name, RmsNorm(out_frac, eps, i(16)), [narrow.name], out_frac)


def silu_of(em: Emitter, name: str, x: Fx, absmax: np.ndarray, fmt: SsmFormat) -> Fx:
    """Apply SiLU to a value of one binary point, giving one of `value_bits`."""
    wide = i(fmt.value_bits)
    frac = int(frac_for(absmax.max(), wide, fmt.headroom))
    table = uniform_table(
        silu, x.uniform, frac, wide, SILU_REACH, SEGMENTS_LOG2, (ZERO_LINE, UNIT_LINE)
    )
    return em.table(name, x, table, frac)


def convolution(
    em: Emitter,
    prefix: str,
    x: Fx,
    taps: np.ndarray | None,
    bias: np.ndarray | None,
    width: int,
    absmax: np.ndarray,
    fmt: SsmFormat,
) -> Fx:
    """Filter x [C] over its last `width` values; taps [width, C], bias [C] or None."""
    channels = em.type(x).shape[0]
    tap_type = i(fmt.tap_bits)
    tap_frac = np.zeros(channels, dtype=np.int64)
    if taps is not None:
        tap_frac = frac_for(np.abs(taps).max(axis=0), tap_type, 1.0)
    if bias is not None:  # taps so small that the bias would saturate beside them lose bits
        tap_frac = np.minimum(tap_frac, frac_for(np.abs(bias), CONV_BIAS, 1.0) - x.frac)
    window = em.builder.state(
        f"{prefix}.window", TensorType.full(em.type(x).dtype, (width, channels))
    )
    pushed = em.node(f"{prefix}.push", Push(), [window, x.name], x.frac)
    em.builder.update(window, pushed.name)
    w = em.fixed(f"{prefix}.taps", taps, (width, channels), tap_type, tap_frac)
    frac = np.broadcast_to(x.frac + tap_frac, (channels,))
    real_bias = np.zeros(channels) if bias is None and em.has_weights else bias
    b = em.fixed(f"{prefix}.bias", real_bias, (channels,), CONV_BIAS, frac)
    total = em.node(f"{prefix}.fir", Fir(), [pushed.name, w.name, b.name], frac)
    wide = i(fmt.value_bits)
    return em.requant(f"{prefix}.out", total, wide, frac_for(absmax.max(), wide, fmt.headroom))


def step_size(
    em: Emitter,
    name: str,
    raw: Fx,
    absmax: np.ndarray,
    floor: float,
    limits: tuple[float, float],
    fmt: SsmFormat,
) -> Fx:
    """Apply softplus, an added floor and limits to the value dt + bias; out unsigned [H]."""
    step = u(fmt.dt_bits)
    frac = min(int(frac_for(absmax.max(), step, 2.0)), step.bits)
    table = uniform_table(
        floored_softplus(floor),
        raw.uniform,
        frac,
        step,
        SOFTPLUS_REACH,
        SEGMENTS_LOG2,
        ((0.0, floor), (1.0, floor)),
    )
    low, high = (int(np.floor(min(v, 1e6) * 2.0**frac + 0.5)) for v in limits)
    if low <= 0 and high >= step.hi:
        return em.table(name, raw, table, frac)
    open_step = em.table(f"{name}.open", raw, table, frac)
    return em.node(name, Clip(max(low, 0), min(high, step.hi)), [open_step.name], frac)


@cache
def floored_softplus(floor: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return softplus plus a floor, the same function for the same floor."""

    def function(x: np.ndarray) -> np.ndarray:
        return softplus(x) + floor

    return function


@cache
def decay_function(bits: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return 1 - e^-v, at most the largest fraction of `bits` bits."""

    def function(v: np.ndarray) -> np.ndarray:
        return np.minimum(one_minus_exp(v), 1.0 - 2.0**-bits)

    return function


def decay_complement(
    em: Emitter,
    prefix: str,
    dt: Fx,
    rate: np.ndarray | None,
    shape: tuple[int, ...],
    fmt: SsmFormat,
) -> Fx:
    """Return k = 1 - exp(-v), v = dt |A|, `decay_bits` fraction bits; dt and |A| broadcast."""
    rate_type = u(16)
    rate_frac = 11 if rate is None else int(frac_for(rate.max(), rate_type, 1.0))
    a = em.fixed(f"{prefix}.rate", rate, shape, rate_type, rate_frac)
    v = em.mul(f"{prefix}.v", dt, a, u(V_BITS), V_FRAC)
    table = log_table(
        decay_function(fmt.decay_bits),
        V_FRAC,
        fmt.decay_bits,
        u(fmt.decay_bits),
        u(V_BITS).hi,
        DECAY_MANTISSA_BITS,
    )
    return em.table(f"{prefix}.k", v, table, fmt.decay_bits)
