"""Lower the selective scan: one decaying matrix state, its read-out and the skip.

Glossary: S is the state's shape, [G, H/G, P, N] for Mamba-2 and [D, N] for Mamba-1; rows are all
axes of S but the last.
    x  S rows, 1      dt  rows broadcast, 1     k  1 - decay, broadcast to S
    B, C  [..., 1, N] D   skip per row, broadcast
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.types import IntType, TensorType, i
from cosim.ops import Contract, DecayUpdate, Dequantize, GroupScale, Quantize
from quant.formats import SsmFormat, StateFormat
from quant.lower.emit import Emitter, Fx, frac_for

STATE_GROUP = 8
# dt spans five decades, so that dt * x needs more bits than either factor has digits.
DRIVE = i(24)
STATE_WIDTH = {"int8 group": 24, "int16": 16, "int24": 24}


@dataclass(frozen=True)
class ScanRanges:
    """Hold calibrated magnitudes: of the state per row group, of dt * x alike, and of y."""

    state: np.ndarray
    drive: np.ndarray
    y: float


def scan(
    em: Emitter,
    prefix: str,
    shape: tuple[int, ...],
    x: Fx,
    dt: Fx,
    k: Fx,
    b: Fx,
    c: Fx,
    skip: np.ndarray | None,
    skip_shape: tuple[int, ...],
    ranges: ScanRanges,
    fmt: SsmFormat,
    wide: IntType,
    state_format: StateFormat,
) -> Fx:
    """Emit the state update and y = C h + D x; return y of type `wide`, one binary point."""
    width = i(STATE_WIDTH[state_format])
    state_frac = frac_for(ranges.state, width, fmt.headroom)
    # The lift of u*b to the state's binary point must not be negative.
    drive_frac = np.minimum(
        frac_for(ranges.drive, DRIVE, 1.0), state_frac + fmt.decay_bits - b.frac
    )
    drive = em.mul(f"{prefix}.drive", dt, x, DRIVE, drive_frac)
    lift = em.small(f"{prefix}.lift", state_frac + fmt.decay_bits - drive_frac - b.frac)
    update = DecayUpdate(fmt.decay_bits, width)
    operands = [k.name, drive.name, b.name, lift]
    if state_format == "int8 group":
        h = _grouped_state(em, prefix, shape, update, operands, state_frac)
    else:
        state = em.builder.state(f"{prefix}.h", TensorType.full(width, shape))
        h = em.node(f"{prefix}.update", update, [state, *operands], state_frac)
        em.builder.update(state, h.name)
    total = em.node(
        f"{prefix}.read",
        Contract(),
        [h.name, c.name],
        np.squeeze(state_frac + c.frac, axis=-1) if state_frac.ndim else state_frac,
    )
    y_frac = int(frac_for(np.asarray(ranges.y), wide, fmt.headroom))
    read = em.requant(f"{prefix}.read_wide", total, wide, y_frac)
    skip_frac = 12 if skip is None else int(frac_for(np.abs(skip).max(), i(16), 1.0))
    d = em.fixed(f"{prefix}.D", skip, skip_shape, i(16), skip_frac)
    rows = em.reshape(f"{prefix}.x_rows", x, shape[:-1])
    skipped = em.mul(f"{prefix}.skip", rows, d, wide, y_frac)
    return em.add(f"{prefix}.y", read, skipped, wide)


def _grouped_state(
    em: Emitter,
    prefix: str,
    shape: tuple[int, ...],
    update: DecayUpdate,
    operands: list[str],
    frac: np.ndarray,
) -> Fx:
    """Store the state as int8 codes with a power-of-two scale per group of 8 along N."""
    rule = GroupScale(STATE_GROUP, 8)
    code_type = rule.infer([TensorType.full(update.dtype, shape)])
    q0 = em.builder.state(f"{prefix}.h", TensorType.full(i(8), shape))
    s0 = em.builder.state(f"{prefix}.h.scale", code_type)
    wide = em.node(f"{prefix}.h.wide", Dequantize(STATE_GROUP), [q0, s0], frac)
    h = em.node(f"{prefix}.update", update, [wide.name, *operands], frac)
    s1 = em.node(f"{prefix}.update.scale", rule, [h.name], 0)
    q1 = em.node(f"{prefix}.update.q", Quantize(STATE_GROUP, i(8)), [h.name, s1.name], 0)
    em.builder.update(q0, q1.name)
    em.builder.update(s0, s1.name)
    return em.node(f"{prefix}.update.wide", Dequantize(STATE_GROUP), [q1.name, s1.name], frac)
