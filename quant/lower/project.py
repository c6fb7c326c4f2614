"""Lower what follows the scan of a Mamba block: gate, optional norm and rotation, out_proj."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cosim.ir.types import IntType, i
from cosim.ops import Hadamard
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.ends import residual_frac
from quant.lower.linear import lower_linear, section
from quant.lower.parts import norm, silu_of
from quant.lower.source import Source

ROTATED = i(32)


@dataclass(frozen=True)
class GatedNorm:
    """Describe the norm beside the gate: its epsilon, its groups of channels, its place."""

    epsilon: float
    groups: int = 1
    before_gate: bool = False


def gate_and_project(
    em: Emitter, src: Source[Any], layer: int, y: Fx, z: Fx, gated_norm: GatedNorm | None
) -> Fx:
    """Emit out_proj(H norm(y SiLU(z))) as i32 in the residual's binary point.

    y (i24 before a norm, else i28) and z have one binary point each; `gated_norm` None
    leaves the norm out.
    """
    c, p = src.config, f"layers.{layer}"
    inner, headroom = c.intermediate_size, src.ssm.headroom
    matrix = f"backbone.layers.{layer}.mixer.out_proj.weight"
    gate = silu_of(em, f"{p}.gate", z, src.ranges.of(f"{p}.gate", (inner,)), src.ssm)
    top = src.ranges.of(f"{p}.gated", (inner,)).max()
    if gated_norm is not None and gated_norm.before_gate:
        y = _grouped_norm(em, src, f"{p}.gated_norm", y, gated_norm)
    wide = em.type(y).dtype
    out_in = em.mul(f"{p}.gated", y, gate, wide, frac_for(top, wide, headroom))
    if gated_norm is not None and not gated_norm.before_gate:
        out_in = _grouped_norm(em, src, f"{p}.gated_norm", out_in, gated_norm)
    return project_out(
        em,
        src,
        f"{p}.out_proj",
        f"{p}.out",
        out_in,
        matrix,
        inner if src.out_hadamard else 0,
        src.ranges.of(f"{p}.out_in", (inner,)),
        residual_frac(src, layer),
        f"{p}.out_in",
    )


def project_out(
    em: Emitter,
    src: Source[Any],
    linear: str,
    out: str,
    x: Fx,
    matrix: str,
    order: int,
    peaks: np.ndarray,
    frac: int,
    rotated: str = "",
    width: IntType = ROTATED,
) -> Fx:
    """Emit W H x as i32 in the residual's binary point; without H where `order` is 0.

    `rotated` names H x, which is kept in `width`; `peaks` [K] are the calibrated magnitudes of x,
    or of H x / sqrt(K).
    """
    if order:
        x = em.node(rotated, Hadamard(order), [x.name], x.frac)
        peaks = peaks * np.sqrt(order)
        if em.type(x).dtype.bits > width.bits:
            # The proved range grows by the order, the real one by its root only.
            narrow = int(frac_for(peaks.max(), width, src.ssm.headroom))
            x = em.requant(f"{rotated}{width.bits}", x, width, narrow)
    kind = linear.rsplit(".", 1)[-1]
    weight = src.matrices[matrix]
    acc = lower_linear(em, linear, x, weight, src.weight_name(matrix, order), src.act(kind), peaks)
    bias = src.bias(matrix.replace(".weight", ".bias"))
    return section(em, out, acc, 0, weight.shape[0], i(32), frac, bias)


def _grouped_norm(em: Emitter, src: Source[Any], name: str, x: Fx, form: GatedNorm) -> Fx:
    """Normalise each of `groups` parts of an i24 value; its own range needs no calibration."""
    inner = src.config.intermediate_size
    parts = x
    if form.groups > 1:
        parts = em.reshape(f"{name}.parts", x, (form.groups, inner // form.groups))
    out = norm(em, name, parts, np.zeros(1), form.epsilon, src.ssm.headroom)
    return out if form.groups == 1 else em.reshape(f"{name}.whole", out, (inner,))


def project_in(em: Emitter, src: Source[Any], layer: int, r: Fx, epsilon: float) -> tuple[Fx, Fx]:
    """Emit norm and in_proj of a Mamba-1 block; return conv_in (per-channel points) and z."""
    c, p = src.config, f"layers.{layer}"
    inner, size = c.intermediate_size, c.hidden_size
    matrix = f"backbone.layers.{layer}.mixer.in_proj.weight"
    u = norm(em, f"{p}.norm", r, src.ranges.of(f"{p}.residual", (size,)), epsilon, src.ssm.headroom)
    acc = lower_linear(
        em,
        f"{p}.in_proj",
        u,
        src.matrices[matrix],
        src.weight_name(matrix),
        src.act("in_proj"),
        src.ranges.of(f"{p}.norm", (size,)),
    )
    bias = src.bias(matrix.replace(".weight", ".bias"))
    first, second = (None, None) if bias is None else (bias[:inner], bias[inner:])
    bits, wide = i(src.ssm.channel_conv_bits), i(src.ssm.value_bits)
    conv_in = section(
        em,
        f"{p}.conv_in",
        acc,
        0,
        inner,
        bits,
        frac_for(src.ranges.of(f"{p}.conv_in", (inner,)), bits, src.ssm.room(bits.bits)),
        first,
    )
    z = section(
        em,
        f"{p}.z",
        acc,
        inner,
        2 * inner,
        wide,
        frac_for(src.ranges.of(f"{p}.z", (inner,)).max(), wide, src.ssm.headroom),
        second,
    )
    return conv_in, z
