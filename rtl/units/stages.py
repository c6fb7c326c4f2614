"""Count the pipeline registers of each node of a chain, its tree over the lanes included."""

from __future__ import annotations

from cosim.design.kinds import OUTPUT_STAGES, STAGES, tree_stages
from cosim.design.sketch import SketchNode
from cosim.ops import GroupRead, GroupScale, GroupShift
from rtl.units.plan import UnitPlan


def depths(plan: UnitPlan) -> dict[str, int]:
    """Return the stage at which each node's result is there."""
    (job,) = plan.jobs
    skeleton = job.flow.skeleton
    found: dict[str, int] = {}
    for name in job.task.nodes:
        node = skeleton.sketch.node(name)
        before = [
            found[root] for operand in node.inputs if operand not in skeleton.sketch.stored
            for root in skeleton.views[operand].roots if root in found
        ]  # fmt: skip
        found[name] = max(before, default=0) + stages_of(plan, node)
    return found


def stages_of(plan: UnitPlan, node: SketchNode) -> int:
    """Return the registers of a node, its tree over the lanes included."""
    own = STAGES.get(node.op.name, 0)
    return own + levels_of(plan, node)


def levels_of(plan: UnitPlan, node: SketchNode) -> int:
    """Return the levels of a node's tree; 0 where it has none."""
    op, most = node.op, plan.unit.lanes
    if isinstance(op, GroupScale | GroupShift):
        return tree_stages(min(op.group, most))
    if isinstance(op, GroupRead):
        return tree_stages(min(op.group, most)) + tree_stages(most)
    if op.name == "contract":
        return tree_stages(min(plan.folded.skeleton.sketch.types[node.inputs[0]].shape[-1], most))
    if op.name in {"fir", "shift_fir"}:
        return tree_stages(plan.folded.skeleton.sketch.types[node.inputs[0]].shape[0])
    return tree_stages(most) if op.name == "argmax" else 0


def latency_of(plan: UnitPlan) -> int:
    """Return the cycles from a firing to its beats."""
    return max(depths(plan).values()) + OUTPUT_STAGES
