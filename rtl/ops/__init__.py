"""The operators in wires: one per file, listed by name in one plain dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rtl.ops import (
    add,
    argmax,
    center,
    clip,
    concat,
    contract,
    decay_update,
    dequantize,
    embed,
    fir,
    group_scale,
    hadamard,
    linear,
    mul,
    push,
    pwl,
    pwl_log,
    quantize,
    requant,
    rescale,
    reshape,
    rms_norm,
    slice,
)

# Each takes its operator, the operands, the inferred type and the pipe: see `rtl/ops/lanes.py`.
WIRES: Mapping[str, Callable[..., Any]] = {
    "add": add.wires,
    "argmax": argmax.wires,
    "center": center.wires,
    "clip": clip.wires,
    "concat": concat.wires,
    "contract": contract.wires,
    "decay_update": decay_update.wires,
    "dequantize": dequantize.wires,
    "embed": embed.wires,
    "fir": fir.wires,
    "group_scale": group_scale.wires,
    "hadamard": hadamard.wires,
    "linear": linear.wires,
    "mul": mul.wires,
    "push": push.wires,
    "pwl": pwl.wires,
    "pwl_log": pwl_log.wires,
    "quantize": quantize.wires,
    "requant": requant.wires,
    "rescale": rescale.wires,
    "reshape": reshape.wires,
    "rms_norm": rms_norm.wires,
    "slice": slice.wires,
}
