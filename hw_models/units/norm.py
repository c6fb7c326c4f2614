"""Time a norm unit: a vector is taken in while its squares are summed, then scaled and let out.

With the row that brings the vector's last element, its sum is complete; the reciprocal root takes
ROOT_STAGES more, and each beat then goes through the multipliers. Beats leave one a cycle, the next
vector may come in meanwhile. A unit that only removes the mean works alike. Where its weights are
off chip, they come with the rows that take the vector in, and are kept.
"""

from __future__ import annotations

from cosim.design.kinds import OUTPUT_STAGES, ROOT_STAGES, STAGES, tree_stages
from cosim.design.plan import Unit
from cosim.design.rows import Flow, lay_rows
from hw_models.network import Program
from hw_models.steps import Draws, encode, taking


def stages(op: str, lanes: int) -> int:
    """Return the cycles from the row that completes a vector to its first beat.

    >>> stages("rms_norm", 8)
    19
    """
    root = ROOT_STAGES if op in {"rms_norm", "rms_table"} else STAGES["mul"]
    return STAGES[op] + tree_stages(lanes) + root + OUTPUT_STAGES


def program(flow: Flow, unit: Unit, draws: Draws | None = None) -> Program:
    """Return the firings of one task; `draws`: constants that it takes from the memory."""
    op = flow.skeleton.sketch.node(flow.task.nodes[0]).op.name
    steps = -(-flow.task.span // unit.lanes)
    rows = lay_rows(steps, flow.needs(unit.lanes), flow.emissions(unit.lanes))
    return encode(taking(rows, draws), stages(op, unit.lanes), flow.task.name)
