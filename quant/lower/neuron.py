"""Emit spiking neurons as integer nodes and states: one step of the graph is one time step.

Glossary (shapes [N] of neurons):
    x  input of this step     u  current (current-based neurons)    v  potential    s  spikes
    leak(z) = sign(z) * floor(|z| * (2^b - decay) / 2^b), toward zero, b = `decay_bits`
    u' = leak(u) + x;  v' = leak(v) + u' (without a current: leak(v) + x);  s = [v' > theta]
    hard reset: v' becomes 0 where s = 1;  soft: v' - theta s
The order is that of Lava's netx neurons (Loihi), which this reproduces bit by bit. All options of
the field that change a bit are attributes here: comparator, reset, rounding, widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.types import IntType, TensorType, i, smallest_type, u
from cosim.ops import Add, Clip, Fir, Fire, Leak, Mul, Push

KEEPS = {">": "<=", ">=": "<"}


@dataclass(frozen=True)
class Neuron:
    """Describe a layer's neurons; decays are integers of 0 (never forgets) to 2^decay_bits."""

    threshold: int
    voltage_decay: int
    current_decay: int | None = None
    decay_bits: int = 12
    comparator: Literal[">", ">="] = ">"
    reset: Literal["hard", "soft"] = "hard"
    potential: IntType = i(24)

    def __post_init__(self) -> None:
        """Raise UserError for decays and thresholds that no integer neuron has."""
        for what, decay in (("voltage", self.voltage_decay), ("current", self.current_decay)):
            if decay is not None and not 0 <= decay <= 1 << self.decay_bits:
                raise UserError(
                    f"neuron: {what} decay {decay} must lie in 0..{1 << self.decay_bits}, the "
                    f"fractions of {self.decay_bits} bits"
                )
        if not 0 < self.threshold <= self.potential.hi:
            raise UserError(
                f"neuron: threshold {self.threshold} must lie in 1..{self.potential.hi}, what a "
                f"potential of {self.potential} reaches"
            )


def add_neurons(b: GraphBuilder, name: str, x: str, form: Neuron) -> str:
    """Add neurons that are driven by x [N]; return the name of their spikes (u1 [N])."""
    drive = x
    if form.current_decay is not None:
        drive = _integrate(b, f"{name}.u", x, form.current_decay, form)
        b.update(f"{name}.u", drive)
    risen = _integrate(b, f"{name}.v", drive, form.voltage_decay, form)
    theta = _scalar(b, f"{name}.threshold", form.threshold)
    spikes = b.add(f"{name}.spikes", Fire(form.comparator), risen, theta)
    none = _scalar(b, f"{name}.zero", 0)
    if form.reset == "hard":
        stays = b.add(f"{name}.stays", Fire(KEEPS[form.comparator]), risen, theta)
        after = b.add(f"{name}.reset", Mul(form.potential), risen, stays, none)
    else:
        minus = _scalar(b, f"{name}.minus", -form.threshold)
        taken = b.add(f"{name}.taken", Mul(form.potential), spikes, minus, none)
        after = b.add(f"{name}.reset", Add(form.potential), risen, taken)
    b.update(f"{name}.v", after)
    return spikes


def add_delays(b: GraphBuilder, name: str, spikes: str, delays: np.ndarray) -> str:
    """Delay each neuron's spikes by its own number of steps, [N] >= 0; return their name.

    A window keeps the last steps; a filter whose taps are 1 at one step, else 0, picks from it.
    """
    size, most = b.types[spikes].size, int(delays.max())
    if delays.shape != (size,) or delays.min() < 0 or delays.dtype.kind not in "iu":
        raise UserError(
            f"{name}: delays must be {size} integers >= 0, got {delays.dtype} {delays.shape} from "
            f"{delays.min()}"
        )
    window = b.state(f"{name}.window", TensorType.full(b.types[spikes].dtype, (most + 1, size)))
    pushed = b.add(f"{name}.push", Push(), window, spikes)
    b.update(window, pushed)
    # The newest row is the last.
    taps = (np.arange(most, -1, -1)[:, None] == delays).astype(np.int64)
    nothing = b.const(f"{name}.bias", np.zeros(size, dtype=np.int64), i(2))
    picked = b.add(f"{name}.pick", Fir(), pushed, b.const(f"{name}.taps", taps, u(1)), nothing)
    return b.add(name, Clip(0, 1), picked)


def _integrate(b: GraphBuilder, state: str, x: str, decay: int, form: Neuron) -> str:
    """Let a state leak and add x to it."""
    wide = form.potential
    held = b.state(state, TensorType.full(wide, b.types[x].shape))
    keep = _scalar(b, f"{state}.keep", (1 << form.decay_bits) - decay)
    kept = b.add(f"{state}.leak", Leak(form.decay_bits, wide), held, keep)
    return b.add(f"{state}.next", Add(wide), kept, x)


def _scalar(b: GraphBuilder, name: str, value: int) -> str:
    return b.const(name, np.array([value]), smallest_type(value, value))
