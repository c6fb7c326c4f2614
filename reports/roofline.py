"""Place each operator against the compute and memory ceilings of its machine.

An operator of the repeated block is one point: its work and its time are summed over the layers.
x: operations per byte, of its off-chip bytes where it has any, else of all it moves on chip.
y: operations per second while its unit is held by it. A multiply-accumulate is two operations;
where an operator has none, its additions, shifts, comparisons and look-ups are counted, one each.
An operator that lives on chip may stand above the slope of the off-chip memory, no other one can.
Source of the picture: Williams, Waterman, Patterson, CACM 52(4), 2009.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.chart import Ceiling, Point, Roofline
from reports.table import Column, Table, si


@dataclass(frozen=True)
class OperatorCost:
    """Hold the modelled cost of one node for one token.

    `task` is what its unit does at a time; operators of one task are pipelined behind one another
    and share its `cycles`. `bytes_moved` are all its operands, results, constants and states,
    `bytes_offchip` those of them that come from DRAM or HBM; `bound` names what it waits for.
    """

    segment: str
    node: str
    op: str
    unit: str
    task: str
    cycles: int
    macs: int
    operations: int
    bytes_moved: float
    bytes_offchip: float
    energy_pj: float
    bound: str

    @property
    def counted_operations(self) -> int:
        """Return two per multiply-accumulate, or the other operations where there is none."""
        return 2 * self.macs or self.operations

    @property
    def intensity(self) -> float | None:
        """Return operations per byte, or None where no byte is moved."""
        moved = self.bytes_offchip or self.bytes_moved
        return self.counted_operations / moved if moved else None


@dataclass(frozen=True)
class Ceilings:
    """Hold what the machine could do at best, with the design at hand."""

    clock_hz: float
    compute_operations_per_s: float
    memory_bytes_per_s: float
    compute_label: str
    memory_label: str


def stem(node: str) -> str:
    """Name a node of the repeated block without its layer.

    >>> stem("layers.3.in_proj"), stem("head")
    ('layers.*.in_proj', 'head')
    """
    return re.sub(r"(^|\.)\d+(?=\.)", r"\1*", node)


def merge_layers(costs: Sequence[OperatorCost]) -> list[tuple[OperatorCost, int]]:
    """Sum the costs of equal nodes of all layers; give each with the number of its nodes."""
    merged: dict[tuple[str, str, str], tuple[OperatorCost, int]] = {}
    for cost in costs:
        key = (stem(cost.segment + "."), stem(cost.node), cost.op)
        if key not in merged:
            merged[key] = (replace(cost, node=stem(cost.node)), 1)
            continue
        total, count = merged[key]
        total = replace(
            total,
            cycles=total.cycles + cost.cycles,
            macs=total.macs + cost.macs,
            operations=total.operations + cost.operations,
            bytes_moved=total.bytes_moved + cost.bytes_moved,
            bytes_offchip=total.bytes_offchip + cost.bytes_offchip,
            energy_pj=total.energy_pj + cost.energy_pj,
        )
        merged[key] = (total, count + 1)
    return list(merged.values())


def task_cycles(costs: Sequence[OperatorCost]) -> list[tuple[str, int]]:
    """Return the cycles of each task of the block, summed over the layers, none counted twice."""
    turns: dict[tuple[str, str, str], int] = {}
    for cost in costs:
        if cost.task and cost.cycles:
            layer = re.search(r"(?:^|\.)(\d+)\.", cost.node)
            turns[(cost.task, cost.segment, layer[1] if layer else "")] = cost.cycles
    total: dict[str, int] = {}
    for (task, _, _), cycles in turns.items():
        total[task] = total.get(task, 0) + cycles
    return list(total.items())


def roofline(title: str, costs: Sequence[OperatorCost], ceilings: Ceilings) -> Roofline:
    """Draw a point per operator that computes; what only moves or renames bits is left out."""
    points = []
    for cost, count in merge_layers(costs):
        x = cost.intensity
        if not cost.counted_operations or not cost.cycles or not x:
            continue
        rate = cost.counted_operations * ceilings.clock_hz / cost.cycles
        where = "off-chip byte" if cost.bytes_offchip else "on-chip byte"
        text = (
            f"{cost.node} ({cost.op}{f', {count} nodes' if count > 1 else ''}): "
            f"{si(rate, 'operations/s')}, {x:.3g} operations per {where}, {cost.cycles:,} cycles "
            f"per token on {cost.unit}, bound by {cost.bound}"
        )
        series = cost.unit.split(".")[0]
        points.append(Point(cost.node, series, x, rate, bool(cost.bytes_offchip), text))
    lines = (
        Ceiling(ceilings.compute_label, ceilings.compute_operations_per_s, sloped=False),
        Ceiling(ceilings.memory_label, ceilings.memory_bytes_per_s, sloped=True),
    )
    note = "Hollow: reads off-chip memory. Filled: lives on chip, so the slope does not bind it."
    return Roofline("roofline", title, "modelled", tuple(points), lines, note)


def table(recipe_costs: Sequence[tuple[str, Sequence[OperatorCost]]]) -> Table:
    """Print a row per recipe and node, unmerged: this is `layers.csv`."""
    columns = (
        Column("recipe", "recipe"),
        Column("segment", "segment"),
        Column("node", "node"),
        Column("op", "operator"),
        Column("unit", "unit"),
        Column("task", "task"),
        Column("cycles", "cycles of its task", "modelled"),
        Column("macs", "MACs", "derived"),
        Column("operations", "operations", "derived"),
        Column("bytes_moved", "bytes", "derived", ",.0f"),
        Column("bytes_offchip", "off-chip bytes", "modelled", ",.0f"),
        Column("intensity", "operations per byte", "modelled", "3"),
        Column("energy_pj", "energy, pJ", "modelled", "4"),
        Column("bound", "bound by"),
    )
    rows = tuple(
        (
            recipe,
            c.segment,
            c.node,
            c.op,
            c.unit,
            c.task,
            c.cycles,
            c.macs,
            c.operations,
            c.bytes_moved,
            c.bytes_offchip,
            c.intensity,
            c.energy_pj,
            c.bound,
        )
        for recipe, costs in recipe_costs
        for c in costs
    )
    return Table("layers", "Operators, node by node", columns, rows)


def merged_table(recipe_costs: Sequence[tuple[str, Sequence[OperatorCost]]]) -> Table:
    """Print a row per recipe and operator of the block, summed over the layers."""
    merged = [(recipe, merge_layers(costs)) for recipe, costs in recipe_costs]
    full = table([(recipe, [c for c, _ in costs]) for recipe, costs in merged])
    counts = [count for _, costs in merged for _, count in costs]
    keep = [k for k, c in enumerate(full.columns) if c.key != "segment"]
    columns = [full.columns[k] for k in keep]
    columns.insert(2, Column("nodes", "nodes", "derived"))
    rows = []
    for row, count in zip(full.rows, counts, strict=True):
        cells = [row[k] for k in keep]
        cells.insert(2, count)
        rows.append(tuple(cells))
    title = "Operators, summed over the layers"
    return Table("operators_by_cost", title, tuple(columns), tuple(rows))
