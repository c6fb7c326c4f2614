"""Say what a matrix unit knows of one task: W q, step by step, and in which rows.

Glossary:
    group    `lanes` rows of the matrix, done together, in the task's order
    step     a firing that multiplies `columns` columns of a group
    block    columns next to each other that share both scales in every step of every task; a power
             of two, so that a tree of a block and a tree of all blocks are as deep as one of all
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cosim.design.kinds import OUTPUT_STAGES, STAGES, tree_stages
from cosim.design.plan import weights_of
from cosim.design.rows import Rows, lay_rows
from cosim.design.shapes import LinearShape
from cosim.ir.types import TensorType
from cosim.ops import Linear
from cosim.ops.group_scale import code_bounds
from rtl.units.fetch import Need, places_of
from rtl.units.plan import Job, UnitPlan, same_in_all
from rtl.units.runs import runs_of
from rtl.units.schedule import Run
from rtl.units.weights import shape_of


@dataclass(frozen=True, eq=False)
class Product:
    """Hold what is known of one task: W q of W [R, K], with its scales."""

    plan: UnitPlan
    job: Job

    @cached_property
    def shape(self) -> LinearShape:
        """Return the size of the matrix."""
        return shape_of(self.plan, self.job)

    @cached_property
    def op(self) -> Linear:
        """Return the operator, which is alike in all layers."""
        node = self.job.task.nodes[0]
        op = same_in_all(self.plan.folded.ops(node), lambda o: o, node)
        assert isinstance(op, Linear)
        return op

    @cached_property
    def types(self) -> list[TensorType]:
        """Return the types of the operands q, W, m and, where scales are dynamic, c."""
        node = self.plan.folded.skeleton.sketch.node(self.job.task.nodes[0])
        return [self.plan.folded.type(n) for n in node.inputs]

    @cached_property
    def out(self) -> TensorType:
        """Return the type of the result; every partial sum lies in its bounds, too."""
        return self.plan.folded.type(self.job.task.nodes[0])

    @property
    def steps(self) -> int:
        """Return the steps of a group."""
        return self.shape.weight_steps(self.plan.unit)

    @property
    def groups(self) -> int:
        """Return the groups of rows."""
        return self.shape.groups(self.plan.unit)

    def scales(self, streamed: bool) -> int:
        """Return the rows of a group that only take multipliers out of the stream."""
        return self.shape.scale_steps(self.plan.unit, streamed)

    def cuts(self) -> set[int]:
        """Return where in a step's columns some scale changes, over all steps."""
        k, columns = self.shape.columns, self.plan.unit.columns
        sizes = (self.op.weight_group, self.op.act_group)
        return {cut % columns for size in sizes if size for cut in range(size, k, size)}

    def group_of(self, block: int, size: int) -> list[int]:
        """Return which group of `size` columns each step's block of columns lies in."""
        columns = self.plan.unit.columns
        last = self.shape.columns - 1
        return [min(s * columns + block, last) // size for s in range(self.steps)]

    def scale_bounds(self) -> tuple[int, int]:
        """Return the bounds of a multiplier times the scale of a group of activations."""
        m = self.types[2]
        least, most = (1, 1)
        if self.op.act_group:
            least, most = code_bounds(self.types[3], self.op.mantissa_bits)
        ends = [x * y for x in (m.lo, m.hi) for y in (least, most)]
        return min(ends), max(ends)

    def sum_bounds(self, columns: int) -> tuple[int, int]:
        """Return the bounds of the scaled sum of so many columns."""
        k = self.shape.columns
        n = min(columns, k)
        return self.out.lo * n // k, -(-self.out.hi * n // k)

    def need(self, slot: int, streamed: bool, block: int = 1) -> Need:
        """Return which elements of operand `slot` each step needs: of each block's columns one."""
        rows = first_rows(self, streamed)
        multiplies = rows.is_step & (np.cumsum(rows.is_step) > self.scales(streamed))
        rows = Rows(rows.pops, rows.pushes, multiplies)
        operand = self.plan.folded.skeleton.sketch.node(self.job.task.nodes[0]).inputs[slot]
        at = places_of(self.shape.columns, self.plan.unit.columns)[:, ::block]
        if slot == 3:
            at = np.where(at < 0, -1, at // self.op.act_group)
        return Need(self.job.flow, operand, at, rows, self.types[slot])


def block_of(products: Sequence[Product], columns: int) -> int:
    """Return the columns of a block: the largest power of two at whose multiples all cuts lie.

    >>> block_of([], 12)
    16
    """
    size = 1 << tree_stages(columns)
    while any(cut % size for p in products for cut in p.cuts()):
        size //= 2
    return size


def stages(columns: int) -> int:
    """Return the cycles from a group's last step to its sums: multiply, add up, scale, add."""
    return STAGES["linear"] + tree_stages(columns) + OUTPUT_STAGES


def first_rows(product: Product, streamed: bool) -> Rows:
    """Lay the rows of the first group, which brings the input in; multipliers come before it."""
    flow, unit = product.job.flow, product.plan.unit
    scales = product.scales(streamed)
    ends = np.minimum((np.arange(product.steps) + 1) * unit.columns, product.shape.columns) - 1
    needs = {}
    for fifo in flow.into:
        beats = flow.passage(fifo).beats_by(ends, fifo.beat)
        needs[fifo.name] = np.concatenate([np.zeros(scales, np.int64), beats])
    return lay_rows(scales + product.steps, needs, [])


def runs(product: Product, number: int, streamed: bool) -> tuple[Run, ...]:
    """Return the firings of one task."""
    unit, rows = product.plan.unit, first_rows(product, streamed)
    scales, each = product.scales(streamed), product.scales(streamed) + product.steps
    behind = (product.groups - 1) * each
    first = rows.is_step.size
    of_step = np.cumsum(rows.is_step) - 1
    at = np.concatenate([np.where(rows.is_step, of_step, -1), np.arange(behind) % each])
    scale = (at >= 0) & (at < scales)
    pops = {f: np.concatenate([flags, np.zeros(behind, bool)]) for f, flags in rows.pops.items()}
    if streamed:
        pops[weights_of(unit)] = at >= 0
    goes_to: dict[str, np.ndarray] = {}
    for emission in product.job.flow.emissions(unit.lanes):
        goes_to.update(emission.goes_to)
    pushes = {}
    for fifo, used in goes_to.items():
        pushes[fifo] = np.zeros(first + behind, bool)
        pushes[fifo][first - 1 :: each] = used
    marks = {
        "job": np.full(first + behind, number),
        "multiplies": at >= scales,
        "scale": scale,
        "first": np.arange(first + behind) < first,
    }
    return runs_of(pops, pushes, marks, stages(unit.columns))
