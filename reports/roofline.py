"""Place each operator against the compute and memory ceilings of its machine.

An operator of the repeated block is one point: its work and its time are summed over the layers.
x: operations per byte of off-chip traffic. y: operations per second while its unit is busy with it.
A multiply-accumulate is two operations.
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

    `bytes_offchip` counts DRAM or HBM traffic; `busy_cycles` is how long its unit works on it,
    waiting for memory included; `bound` names what it waits for: compute or memory.
    """

    segment: str
    node: str
    op: str
    unit: str
    busy_cycles: int
    macs: int
    operations: int
    bytes_offchip: float
    energy_pj: float
    bound: str


@dataclass(frozen=True)
class Ceilings:
    """Hold what the machine could do at best, with the design at hand."""

    clock_hz: float
    compute_operations_per_s: float
    memory_bytes_per_s: float
    compute_label: str = "compute"
    memory_label: str = "memory"


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
            busy_cycles=total.busy_cycles + cost.busy_cycles,
            macs=total.macs + cost.macs,
            operations=total.operations + cost.operations,
            bytes_offchip=total.bytes_offchip + cost.bytes_offchip,
            energy_pj=total.energy_pj + cost.energy_pj,
        )
        merged[key] = (total, count + 1)
    return list(merged.values())


def roofline(title: str, costs: Sequence[OperatorCost], ceilings: Ceilings) -> Roofline:
    """Draw a point per operator that computes; what only moves or renames bits is left out."""
    points = []
    for cost, count in merge_layers(costs):
        if not cost.operations or not cost.busy_cycles:
            continue
        rate = cost.operations * ceilings.clock_hz / cost.busy_cycles
        x = cost.operations / cost.bytes_offchip if cost.bytes_offchip else None
        per_byte = f"{x:.3g} operations per off-chip byte" if x else "no off-chip traffic"
        text = (
            f"{cost.node} ({cost.op}{f', {count} nodes' if count > 1 else ''}): "
            f"{si(rate, 'operations/s')}, {per_byte}, {cost.busy_cycles:,} cycles per token on "
            f"{cost.unit}, bound by {cost.bound}"
        )
        points.append(Point(cost.node, cost.unit, x, rate, text))
    lines = (
        Ceiling(ceilings.compute_label, ceilings.compute_operations_per_s, sloped=False),
        Ceiling(ceilings.memory_label, ceilings.memory_bytes_per_s, sloped=True),
    )
    return Roofline("roofline", title, "modelled", tuple(points), lines)


def table(recipe_costs: Sequence[tuple[str, Sequence[OperatorCost]]]) -> Table:
    """Print a row per recipe and node, unmerged: this is `layers.csv`."""
    columns = (
        Column("recipe", "recipe"),
        Column("segment", "segment"),
        Column("node", "node"),
        Column("op", "operator"),
        Column("unit", "unit"),
        Column("busy_cycles", "busy cycles", "modelled"),
        Column("macs", "MACs", "derived"),
        Column("operations", "operations", "derived"),
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
            c.busy_cycles,
            c.macs,
            c.operations,
            c.bytes_offchip,
            c.operations / c.bytes_offchip if c.bytes_offchip else None,
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
