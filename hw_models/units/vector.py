"""Time a vector unit: a chain of elementwise operators, tables and re-quantisations.

Row k takes elements k*lanes up to (k+1)*lanes of the span through all operators of the chain, one
row a cycle; a row pops the beats that it is the first to need. A result leaves with the row that
completes it. Operators that look at a group (its scale) or at the whole span (arg-max) delay what
depends on them: the chain keeps those elements meanwhile and lets the beats out one a cycle.
Where the constants of layers are off chip, a row pops a beat of those that it is the first to need.
"""

from __future__ import annotations

from cosim.design.kinds import OUTPUT_STAGES, STAGES, tree_stages
from cosim.design.plan import Task, Unit
from cosim.design.rows import Flow, lay_rows
from cosim.design.sketch import SketchNode
from cosim.design.tasks import Skeleton
from cosim.ops import GroupRead, GroupScale, GroupShift
from hw_models.network import Program
from hw_models.steps import Draws, encode, taking


def stages(skeleton: Skeleton, task: Task, unit: Unit) -> int:
    """Return the cycles from a row's start to its output: the longest path through the chain."""
    depth: dict[str, int] = {}
    for name in task.nodes:
        node = skeleton.sketch.node(name)
        before = [
            depth[root] for operand in node.inputs if operand not in skeleton.sketch.stored
            for root in skeleton.views[operand].roots if root in depth
        ]  # fmt: skip
        depth[name] = max(before, default=0) + _operator_stages(skeleton, node, unit.lanes)
    return max(depth.values()) + OUTPUT_STAGES


def program(flow: Flow, unit: Unit, draws: Draws | None = None) -> Program:
    """Return the firings of one task; `draws`: constants that it takes from the memory."""
    steps = -(-flow.task.span // unit.lanes)
    rows = lay_rows(steps, flow.needs(unit.lanes), flow.emissions(unit.lanes))
    return encode(taking(rows, draws), stages(flow.skeleton, flow.task, unit), flow.task.name)


def _operator_stages(skeleton: Skeleton, node: SketchNode, lanes: int) -> int:
    """Return an operator's registers; what looks across lanes has a tree over them."""
    own = STAGES[node.op.name]
    if node.op.name == "argmax":
        return own + tree_stages(lanes)
    if isinstance(node.op, GroupScale | GroupShift):
        return own + tree_stages(min(node.op.group, lanes))
    if isinstance(node.op, GroupRead):
        return own + tree_stages(min(node.op.group, lanes)) + tree_stages(lanes)
    if node.op.name == "contract":
        inner = skeleton.sketch.types[node.inputs[0]].shape[-1]
        return own + tree_stages(min(inner, lanes))
    return own
