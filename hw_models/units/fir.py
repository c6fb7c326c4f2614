"""Time a FIR unit: a short causal convolution over time, channel by channel.

Row k takes `lanes` channels: it reads their window, drops the oldest value, appends the new one,
multiplies by the taps and adds. Windows, taps and biases are in memories of its own, so that each
row pops one beat and pushes one, one row a cycle. Where the same windows come again in the next
turn, that turn waits until the write is done.
Where windows are off chip, each row pops the values that its channels keep from `window.in`, and
pushes those that they keep now to `window.out`; of a prompt's tokens in a turn, the first pops and
the last pushes. Where taps and biases are off chip, each row pops those of its channels with the
first pass of a turn.
"""

from __future__ import annotations

from dataclasses import replace

from cosim.design.kinds import OUTPUT_STAGES, STAGES, tree_stages
from cosim.design.plan import WINDOW_FIFOS, Unit
from cosim.design.rows import Flow, lay_rows
from hw_models.network import Program
from hw_models.steps import Draws, encode, taking

WINDOW_IN, WINDOW_OUT = WINDOW_FIFOS


def stages(flow: Flow) -> int:
    """Return the cycles from a row's start to its output."""
    nodes = map(flow.skeleton.sketch.node, flow.task.nodes)
    node = next(n for n in nodes if n.op.name in {"fir", "shift_fir"})
    taps = flow.skeleton.sketch.types[node.inputs[0]].shape[0]
    return STAGES["push"] + STAGES[node.op.name] + tree_stages(taps) + OUTPUT_STAGES


def program(
    flow: Flow,
    unit: Unit,
    same_window_next: bool,
    reads: bool = False,
    writes: bool = False,
    draws: Draws | None = None,
) -> Program:
    """Return the firings of one task.

    `reads`, `writes`: its windows come from off chip, and go there.
    """
    steps = -(-flow.task.span // unit.lanes)
    rows = lay_rows(steps, flow.needs(unit.lanes), flow.emissions(unit.lanes))
    rows = taking(rows, draws)
    if reads:
        rows = replace(rows, pops={**rows.pops, WINDOW_IN: rows.is_step})
    if writes:
        rows = replace(rows, pushes={**rows.pushes, WINDOW_OUT: rows.is_step})
        return encode(rows, stages(flow), flow.task.name)
    written = STAGES["push"] + OUTPUT_STAGES
    wait = max(1, written - rows.is_step.size + 1) if same_window_next else 1
    return encode(rows, stages(flow), flow.task.name, wait)
