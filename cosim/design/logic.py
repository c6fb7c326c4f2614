"""Estimate what each unit of a design takes: LUT and FF by the fits, DSPs by counting.

Two packings are known. `board`: the maker's, for budgets: small products of a matrix unit share
DSPs, as many as are left, and the rest are made of LUTs. `tool`: that of yosys, to compare with it:
a DSP for each product whose result has 9 bits or more, LUTs for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cosim.design.design import Design
from cosim.design.features import Size, fifos_size, matrix_size, taken_size, task_size
from cosim.design.fitted import Estimate, estimate
from cosim.design.graph_kind import GraphKind
from cosim.design.plan import Fifo, Unit
from cosim.design.products import of_linear, of_node
from cosim.design.resources import mac_dsps, products_in_luts
from cosim.design.shapes import LinearShape, linear_shapes
from cosim.ir.types import TensorType
from cosim.machine import Machine
from cosim.ops import Linear

# Units that pass beats on as they come.
PASSES_ON = ("memory", "source", "sink", "switch")
Packing = Literal["board", "tool"]


@dataclass(frozen=True)
class UnitLogic:
    """Hold a unit's estimate, and its DSPs."""

    unit: Unit
    estimate: Estimate
    dsps: int


def unit_logic(
    design: Design, kinds: Sequence[GraphKind], machine: Machine, packing: Packing, dsps: int = 0
) -> list[UnitLogic]:
    """Return what each unit takes; `dsps`: those that the board has."""
    made, taken = _fifos(design)
    known = kinds[0].skeleton.known
    found: dict[str, UnitLogic] = {}
    # What the others leave of the DSPs is the matrix units'.
    for unit in sorted(design.units, key=lambda u: u.kind == "matrix"):
        tasks = tuple(t for k in kinds for t in k.skeleton.tasks if t.unit == unit.name)
        ends = tuple(
            tuple(
                (f.value, f.width_bits, f.places_on_chip, f.beat) for f in fifos.get(unit.name, ())
            )
            for fifos in (made, taken)
        )
        key: tuple[object, ...] = ("logic", unit, tasks, ends, machine.logic, packing)
        if unit.kind == "matrix":
            key = (*key, dsps, design.places["weights"])
        own = known.get(key)
        if not isinstance(own, UnitLogic):
            size, used = _unit_size(
                design, kinds, unit, machine, packing, dsps,
                (made.get(unit.name, []), taken.get(unit.name, [])),
            )  # fmt: skip
            own = UnitLogic(unit, estimate(unit.name, unit.kind, size), used)
            known[key] = own
        dsps -= own.dsps
        found[unit.name] = own
    return [found[u.name] for u in design.units]


def unit_sizes(
    design: Design, kinds: Sequence[GraphKind], machine: Machine, packing: Packing, dsps: int = 0
) -> list[tuple[Unit, Size, int]]:
    """Return what costs logic in each unit, and its DSPs; see `unit_logic`."""
    made, taken = _fifos(design)
    found: dict[str, tuple[Unit, Size, int]] = {}
    for unit in sorted(design.units, key=lambda u: u.kind == "matrix"):
        ends = made.get(unit.name, []), taken.get(unit.name, [])
        size, used = _unit_size(design, kinds, unit, machine, packing, dsps, ends)
        dsps -= used
        found[unit.name] = unit, size, used
    return [found[u.name] for u in design.units]


def _unit_size(
    design: Design,
    kinds: Sequence[GraphKind],
    unit: Unit,
    machine: Machine,
    packing: Packing,
    dsps: int,
    ends: tuple[list[Fifo], list[Fifo]],
) -> tuple[Size, int]:
    """Return what costs logic in a unit with the FIFOs that it pushes and pops, and its DSPs."""
    if unit.kind == "matrix":
        size, used = _matrix(design, kinds, unit, machine, packing, dsps)
    else:
        size, used = _chain(kinds, unit, machine)
    made, taken = ends
    if made:
        size = size.beside(fifos_size(made, packing == "tool"))
    if unit.kind not in PASSES_ON and taken:
        wide = unit.columns if unit.kind == "matrix" else unit.lanes
        size = size.beside(taken_size(taken, wide))
    return size, used


def _chain(kinds: Sequence[GraphKind], unit: Unit, machine: Machine) -> tuple[Size, int]:
    """Return the size of a unit that is no matrix unit, and its DSPs.

    Tasks of the same operators share a datapath, that of the largest; others stand beside it.
    """
    sizes: dict[tuple[str, ...], Size] = {}
    dsps: dict[tuple[str, ...], int] = {}
    for kind in kinds:
        sketch = kind.skeleton.sketch
        for task in kind.skeleton.tasks:
            if task.unit == unit.name:
                nodes = [sketch.node(n) for n in task.nodes]
                name = tuple(n.op.name for n in nodes)
                size = task_size(kind.skeleton, task, unit)
                sizes[name] = sizes[name].instead(size) if name in sizes else size
                products = (p for n in nodes for p in of_node(sketch, n, unit.lanes))
                own = sum(p.dsps(machine.logic.family) for p in products)
                dsps[name] = max(dsps.get(name, 0), own)
    whole = Size()
    for size in sizes.values():
        whole = whole.beside(size)
    return whole, sum(dsps.values())


def _matrix(
    design: Design,
    kinds: Sequence[GraphKind],
    unit: Unit,
    machine: Machine,
    packing: Packing,
    dsps: int,
) -> tuple[Size, int]:
    """Return the size of a matrix unit, and its DSPs, those of its scales included."""
    shapes = matrix_turns(kinds, unit)
    products, scales, blocks = of_linear(layers_of(kinds, unit), unit)
    family = machine.logic.family
    of_scales = sum(p.dsps(family) for p in scales)
    if packing == "tool":
        used = products.dsps(family)
        in_luts = 0 if used else products.count
    else:
        widths = max(s.weight_bits for s, _ in shapes), max(s.act_bits for s, _ in shapes)
        used = mac_dsps(products.count, *widths, machine, max(dsps - of_scales, 0))
        in_luts = products_in_luts(products.count, *widths, machine, used)
    size = matrix_size(shapes, unit, in_luts, blocks, design.places["weights"] == "memory")
    return size, used + of_scales


def layers_of(kinds: Sequence[GraphKind], unit: Unit) -> list[tuple[Linear, Sequence[TensorType]]]:
    """Return the linear layers of a matrix unit, each with its operands' types."""
    found: list[tuple[Linear, Sequence[TensorType]]] = []
    for kind in kinds:
        sketch = kind.skeleton.sketch
        for task in kind.skeleton.tasks:
            node = sketch.by_name.get(task.nodes[0]) if task.nodes else None
            if task.unit == unit.name and node is not None and isinstance(node.op, Linear):
                found.append((node.op, [sketch.types[n] for n in node.inputs]))
    return found


def matrix_turns(
    kinds: Sequence[GraphKind], unit: Unit, is_prompt: bool = False
) -> list[tuple[LinearShape, int]]:
    """Return the linear tasks of a matrix unit with their turns per token."""
    return [
        (s, n * len(k.segments))
        for k in kinds
        for s, n in linear_shapes(k.skeleton)
        for task in [k.skeleton.task(s.task)]
        if task.unit == unit.name and not (is_prompt and not k.skeleton.in_prompt(task))
    ]


def _fifos(design: Design) -> tuple[dict[str, list[Fifo]], dict[str, list[Fifo]]]:
    """Return the FIFOs by the unit that pushes them, and by the one that pops them.

    Layers that are not folded share some.
    """
    ends: tuple[dict[str, dict[str, Fifo]], dict[str, dict[str, Fifo]]] = {}, {}
    for layout in design.layouts:
        for fifo in layout.fifos:
            for end, task in zip(ends, (fifo.maker, fifo.taker), strict=True):
                end.setdefault(layout.task(task).unit, {})[fifo.channel] = fifo
    made, taken = ({unit: list(own.values()) for unit, own in end.items()} for end in ends)
    return made, taken
