"""Time a state unit: read, decay, add a rank-one term, write back, and contract with C.

It is a chain (`units/vector.py`) whose span is the whole state, in row-major order. Each row reads
and writes `lanes` elements of every state: in memories of its own, or, where states are off chip,
by a beat from `state.in` and one to `state.out`. B and C are kept when they have been popped. A
row's output is the contraction over the last axis; it leaves when its last element is in.
Where the same state is worked on again in the next turn, that turn waits until the write is done.
A prompt's state that lives off chip is read with the first token of a turn and written with the
last; in between it stays in a memory of the unit's own.
"""

from __future__ import annotations

from dataclasses import replace

from cosim.design.plan import STATE_FIFOS, Unit
from cosim.design.rows import Flow, lay_rows
from hw_models.network import Program
from hw_models.steps import Draws, encode, taking
from hw_models.units import vector

STATE_IN, STATE_OUT = STATE_FIFOS


def program(
    flow: Flow,
    unit: Unit,
    off_chip: bool,
    same_state_next: bool,
    reads: bool = True,
    writes: bool = True,
    draws: Draws | None = None,
) -> Program:
    """Return the firings of one token.

    Where states are off chip, those of a prompt's tokens in between neither read nor write them.
    """
    steps = -(-flow.task.span // unit.lanes)
    rows = lay_rows(steps, flow.needs(unit.lanes), flow.emissions(unit.lanes))
    rows = taking(rows, draws)
    latency = vector.stages(flow.skeleton, flow.task, unit)
    if off_chip and reads:
        rows = replace(rows, pops={**rows.pops, STATE_IN: rows.is_step})
    if off_chip and writes:
        rows = replace(rows, pushes={**rows.pushes, STATE_OUT: rows.is_step})
        return encode(rows, latency, flow.task.name)
    wait = max(1, latency - rows.is_step.size + 1) if same_state_next else 1
    return encode(rows, latency, flow.task.name, wait)
