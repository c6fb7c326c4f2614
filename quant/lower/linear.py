"""Lower a linear layer: quantise its input, multiply, and move the binary point of each section."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.types import IntType, i
from cosim.ops import GroupScale, Linear, Quantize, Rescale
from quant.formats import ActFormat
from quant.lower.emit import Emitter, Fx
from quant.lower.threshold import threshold_of
from quant.weights import IntWeight

STATIC_BITS = 15
WIDE_SUM = i(32)
BIAS_GUARD_BITS = 8
# Where there are no weights: scales near 2^-14 with 8-bit multipliers, as trained models have.
NOMINAL_EXPONENT = 14


@dataclass(frozen=True)
class Accumulator:
    """Hold the exact sums of a linear layer; real = integer * gain * 2^-frac per row."""

    value: Fx
    gain: float


def lower_linear(
    em: Emitter,
    name: str,
    x: Fx,
    weight: IntWeight,
    weight_name: str,
    act: ActFormat,
    absmax: np.ndarray,
) -> Accumulator:
    """Quantise x [K] (one binary point) by `act` and multiply by the weight's codes.

    `absmax` [K] are the calibrated magnitudes of the real input, used by static formats.
    """
    rows, k = weight.shape
    w = em.const(weight_name, weight.codes, (rows, k), weight.code_type)
    m = em.const(
        f"{weight_name}.multiplier",
        weight.multipliers,
        (rows, weight.group_count),
        weight.multiplier_type,
    )
    exponents = weight.exponents
    if exponents is None:
        exponents = np.full(rows, NOMINAL_EXPONENT, dtype=np.int64)
    if act.threshold_divisor:
        scale = threshold_of(em, f"{name}.threshold", x, act.threshold_divisor)
        q = em.node(f"{name}.q", Quantize(k, i(act.bits)), [x.name, scale.name], 0)
        op = Linear(weight.group, k)
        acc = em.node(f"{name}.acc", op, [q.name, w, m, scale.name], x.uniform + exponents)
        return Accumulator(acc, 1.0)
    if act.dynamic:
        group = act.group or k
        scale = em.node(
            f"{name}.scale", GroupScale(group, act.bits, act.mantissa_bits, act.clip), [x.name], 0
        )
        q = em.node(
            f"{name}.q", Quantize(group, i(act.bits), act.mantissa_bits), [x.name, scale.name], 0
        )
        op = Linear(weight.group, group, act.mantissa_bits)
        acc = em.node(f"{name}.acc", op, [q.name, w, m, scale.name], x.uniform + exponents)
        return Accumulator(acc, 1.0)
    step = max(float(absmax.max()), 1e-9) / ((1 << (act.bits - 1)) - 1)
    multiplier, shift = _ratio(2.0**-x.uniform / step)
    inputs = [
        x.name,
        em.small(f"{name}.q.m", np.array([multiplier])),
        em.small(f"{name}.q.shift", np.array([shift])),
    ]
    q = em.node(f"{name}.q", Rescale(i(act.bits)), inputs, 0)
    acc = em.node(f"{name}.acc", Linear(weight.group), [q.name, w, m], exponents)
    return Accumulator(acc, step)


def section(
    em: Emitter,
    name: str,
    acc: Accumulator,
    start: int,
    stop: int,
    dtype: IntType,
    frac: np.ndarray | int,
    bias: np.ndarray | None = None,
) -> Fx:
    """Take rows start to stop of the sums to dtype and `frac`, and add a real bias."""
    size = em.type(acc.value).shape[0]
    part = (
        acc.value if (start, stop) == (0, size) else em.slice(f"{name}.sum", acc.value, start, stop)
    )
    frac = np.asarray(frac, dtype=np.int64)
    if bias is None:
        return _move(em, name, part, acc.gain, dtype, frac)
    # Narrow types get the bias while there are guard bits, so that they round and saturate once.
    narrow = dtype.bits < WIDE_SUM.bits
    wide, fine = (WIDE_SUM, frac + BIAS_GUARD_BITS) if narrow else (dtype, frac)
    product = _move(em, f"{name}.product", part, acc.gain, wide, fine)
    constant = em.fixed(f"{name}.bias", bias, (stop - start,), wide, fine)
    total = em.add(f"{name}.biased" if narrow else name, product, constant, wide)
    return em.requant(name, total, dtype, frac) if narrow else total


def _move(em: Emitter, name: str, x: Fx, gain: float, dtype: IntType, frac: np.ndarray) -> Fx:
    """Multiply by a real gain and move the binary point to `frac`."""
    if gain == 1.0:
        return em.requant(name, x, dtype, frac)
    multiplier, shift = _ratio(gain)
    shifts = np.broadcast_to(x.frac + shift - frac, (em.type(x).shape[0],))
    m = em.small(f"{name}.m", np.array([multiplier]))
    s = em.shift(name, shifts, 1)
    return em.node(name, Rescale(dtype), [x.name, m, s], frac)


def _ratio(value: float) -> tuple[int, int]:
    """Return (m, s) with value ~ m / 2^s and m of 15 bits."""
    shift = STATIC_BITS - 1 - int(np.floor(np.log2(value)))
    return round(value * 2.0**shift), shift
