"""Lower the selective scan of Mamba-1 and its bidirectional sister: a state [D, N].

Glossary: `act` is SiLU(conv) [D]; x the same narrowed for the scan; dt, B, C come from it
through x_proj and dt_proj; v = dt |A| and k = 1 - exp(-v), one per channel and state.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cosim.ir.types import i
from quant.lower.emit import Emitter, Fx, frac_for
from quant.lower.linear import lower_linear, section
from quant.lower.parts import decay_complement, step_size
from quant.lower.scan import ScanRanges, scan
from quant.lower.source import Source

# Without a norm behind it, y keeps more bits than a norm's input may have.
WIDE = i(28)


def selective_operands(
    em: Emitter, src: Source[Any], layer: int, act: Fx, floor: float
) -> dict[str, Fx]:
    """Emit x [D], dt [D], B [N] and C [N] from act [D]."""
    c, p, mixer = src.config, f"layers.{layer}", f"backbone.layers.{layer}.mixer"
    inner, n, rank = c.intermediate_size, c.state_size, c.time_step_rank
    narrow, room = i(src.ssm.operand_bits), src.ssm.room(src.ssm.operand_bits)
    x_top = src.ranges.of(f"{p}.x", (inner,))
    x = em.requant(f"{p}.x", act, narrow, frac_for(x_top, narrow, room))
    acc = lower_linear(
        em,
        f"{p}.x_proj",
        act,
        src.matrices[f"{mixer}.x_proj.weight"],
        src.weight_name(f"{mixer}.x_proj.weight"),
        src.act("x_proj"),
        x_top,
    )
    bias = src.bias(f"{mixer}.x_proj.bias")

    def part(what: str, start: int, size: int, bits: int, headroom: float) -> Fx:
        frac = frac_for(src.ranges.of(f"{p}.{what}", (size,)).max(), i(bits), headroom)
        cut = None if bias is None else bias[start : start + size]
        return section(em, f"{p}.{what}", acc, start, start + size, i(bits), frac, cut)

    dt_rank = part("dt_rank", 0, rank, src.ssm.value_bits, src.ssm.headroom)
    b = part("B", rank, n, src.ssm.operand_bits, room)
    c_out = part("C", rank + n, n, src.ssm.operand_bits, room)
    matrix = f"{mixer}.dt_proj.weight"
    acc = lower_linear(
        em,
        f"{p}.dt_proj",
        dt_rank,
        src.matrices[matrix],
        src.weight_name(matrix),
        src.act("dt_proj"),
        src.ranges.of(f"{p}.dt_rank", (rank,)),
    )
    dt_bias = src.bias(f"{mixer}.dt_proj.bias")
    top = src.ranges.of(f"{p}.dt_raw", (inner,)).max()
    if dt_bias is not None:
        top = max(top, np.abs(dt_bias).max())
    wide = i(src.ssm.value_bits)
    frac = frac_for(np.asarray(top), wide, src.ssm.headroom)
    raw = section(em, f"{p}.dt_raw", acc, 0, inner, wide, frac, dt_bias)
    dt = step_size(
        em, f"{p}.dt", raw, src.ranges.of(f"{p}.dt", (inner,)), floor, (0.0, np.inf), src.ssm
    )
    return {"x": x, "dt": dt, "B": b, "C": c_out}


def selective_scan(
    em: Emitter, src: Source[Any], layer: int, operands: dict[str, Fx], y_top: float
) -> Fx:
    """Emit the scan of one direction; return y = C h + D x, i28 [D]."""
    c, p, mixer = src.config, f"layers.{layer}", f"backbone.layers.{layer}.mixer"
    inner, n = c.intermediate_size, c.state_size
    x = em.reshape(f"{p}.x_rows", operands["x"], (inner, 1))
    dt = em.reshape(f"{p}.dt_rows", operands["dt"], (inner, 1))
    b = em.reshape(f"{p}.B_row", operands["B"], (1, n))
    c_out = em.reshape(f"{p}.C_row", operands["C"], (1, n))
    log_rate = src.array(f"{mixer}.A_log")
    rate = None if log_rate is None else np.exp(log_rate)
    k = decay_complement(em, p, dt, rate, (inner, n), src.ssm)
    state_top = src.ranges.of(f"{p}.state", (inner, n)).max(axis=1, keepdims=True)
    drive_top = src.ranges.of(f"{p}.dt", (inner, 1)) * src.ranges.of(f"{p}.x", (inner, 1))
    bounds = ScanRanges(state_top, drive_top, y_top)
    return scan(
        em,
        f"{p}.ssm",
        (inner, n),
        x,
        dt,
        k,
        b,
        c_out,
        src.array(f"{mixer}.D"),
        (inner,),
        bounds,
        src.ssm,
        WIDE,
        src.ssm.channel_state,
    )
