"""Time a Hadamard unit: a streaming rotation of blocks of base * 2^k elements.

A block comes in `lanes` elements a row. The butterflies of the power of two work on the stream with
delay memories; the base (12, 20, 28 or 40) is a sum of as many signed terms, one adder a term. The
first beat leaves with the row that brings the block's last element, the others one a cycle behind
it; the next block may come in meanwhile.
"""

from __future__ import annotations

from cosim.design.kinds import OUTPUT_STAGES, STAGES, tree_stages
from cosim.design.plan import Unit
from cosim.design.rows import Flow, lay_rows
from cosim.ops import Hadamard
from cosim.ops.hadamard import split_order
from hw_models.network import Program
from hw_models.steps import encode


def stages(order: int) -> int:
    """Return the cycles from the row that completes a block to its first beat.

    >>> stages(64), stages(5120)
    (7, 14)
    """
    base, power = split_order(order)
    return STAGES["hadamard"] * (tree_stages(power) + tree_stages(base)) + OUTPUT_STAGES


def program(flow: Flow, unit: Unit) -> Program:
    """Return the firings of one task."""
    node = flow.skeleton.sketch.node(flow.task.nodes[0])
    assert isinstance(node.op, Hadamard)
    steps = -(-flow.task.span // unit.lanes)
    rows = lay_rows(steps, flow.needs(unit.lanes), flow.emissions(unit.lanes))
    return encode(rows, stages(node.op.order), flow.task.name)
