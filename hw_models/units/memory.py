"""Time the ports of the off-chip memory: a bandwidth- and latency-limited source.

A port has an exact share of the memory's effective bandwidth. It asks for a beat as soon as the
FIFO has a place for it; the beat arrives `latency` cycles later, and beats follow at the rational
interval bits / rate, as a phase accumulator gives it, which begins anew with each task. The test
bench of the wires plays the same pattern.

`memory`       the embedding's row, then each linear task's weights in static order
`state.read`   the decaying states, layer after layer, once they have been written a token ago
`state.write`  the same states back
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from cosim.design.kinds import OUTPUT_STAGES, STAGES
from cosim.design.plan import Unit
from hw_models.network import Firing, Program
from hw_models.steps import Flow, encode, lay_rows
from hw_models.units.state import STATE_IN, STATE_OUT

STATE_WRITTEN = "state.written"


def interval(beat_bits: int, rate: Fraction) -> Fraction:
    """Return the cycles from beat to beat; a port gives at most one a cycle.

    >>> interval(512, Fraction(400)), interval(300, Fraction(400))
    (Fraction(32, 25), Fraction(1, 1))
    """
    return max(Fraction(beat_bits) / rate, Fraction(1))


def weights(
    task: str, into: str, beats: int, beat_bits: int, rate: Fraction, latency: int
) -> Program:
    """Return the firings that fetch the weights of one linear task into a FIFO."""
    kind = Firing((), (into,), latency, interval(beat_bits, rate), task)
    return Program.of((beats, kind))


def embedding(flow: Flow, unit: Unit, rate: Fraction | None, latency: int) -> Program:
    """Return the firings that read a row of the embedding; `rate` None: it is on chip."""
    steps = -(-flow.task.span // unit.lanes)
    token = {f.name: np.ones(steps, np.int64) for f in flow.into}
    rows = lay_rows(steps, token, flow.emissions(unit.lanes))
    program = encode(rows, latency if rate else STAGES["embed"] + OUTPUT_STAGES, flow.task.name)
    if rate is None:
        return program
    gap = interval(max(f.width_bits for f in flow.out), rate)
    slow = tuple(Firing(k.pops, k.pushes, k.latency, gap, k.task) for k in program.kinds)
    return Program(slow, program.index, program.times)


def read_states(task: str, beats: int, beat_bits: int, rate: Fraction, latency: int) -> Program:
    """Return the firings that fetch the states of one task, once they are written."""
    gap = interval(beat_bits, rate)
    first = Firing((STATE_WRITTEN,), (STATE_IN,), latency, gap, task)
    return Program.of((1, first), (beats - 1, Firing((), (STATE_IN,), latency, gap, task)))


def write_states(task: str, beats: int, beat_bits: int, rate: Fraction) -> Program:
    """Return the firings that store the states of one task."""
    gap = interval(beat_bits, rate)
    last = Firing((STATE_OUT,), (STATE_WRITTEN,), 1, gap, task)
    return Program.of((beats - 1, Firing((STATE_OUT,), (), 1, gap, task)), (1, last))
