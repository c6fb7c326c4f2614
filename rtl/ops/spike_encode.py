"""Expand counts into spikes: two stages, the magnitude and the step's bit or comparison."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import SpikeEncode
from cosim.ops.spike_encode import RATE, SIGNED
from rtl.numerics import Int, absolute, constant, extend, less, neg, negative, pick, select
from rtl.ops.lanes import Lanes, lanes, within
from rtl.pipe import Pipe


def wires(op: SpikeEncode, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Take the magnitude, register; take each step's spike, register."""
    (x,) = inputs
    order = range(op.steps)[:: -1 if op.highest_first else 1]
    found = np.empty((*x.shape[:-1], op.steps, x.shape[-1]), dtype=object)
    for at, count in np.ndenumerate(x):
        for t, spike in zip(range(op.steps), spikes_of(op, count, order, pipe), strict=True):
            found[(*at[:-1], t, at[-1])] = pipe.cut(within(spike, out))
    return lanes(list(found.reshape(-1)), found.shape)


def spikes_of(op: SpikeEncode, x: Int, order: range, pipe: Pipe) -> list[Int]:
    """Return the spikes of one count in the order of the steps, one stage later."""
    signed = op.coding in SIGNED and x.lo < 0
    size = pipe.cut(absolute(x) if signed else x)
    sign = pipe.cut(Int(negative(x), 0, 1, x.at)) if signed else None
    found = []
    for t in order:
        if op.coding in RATE:
            flag = less(constant(t), size)
        else:
            flag = pick(extend(size, max(size.bits, op.steps)), [t])
        spike = Int(flag, 0, 1, size.at)
        found.append(spike if sign is None else select(sign.wire, neg(spike), spike))
    return found
