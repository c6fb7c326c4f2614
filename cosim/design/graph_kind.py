"""Sort the step graphs of a model by kind: one layout serves all segments of one kind."""

from __future__ import annotations

from dataclasses import dataclass

from cosim.design.arrange import arranged
from cosim.design.sketch import Sketch, fold
from cosim.design.tasks import Skeleton, skeleton
from cosim.ir.model import Model


@dataclass(frozen=True)
class GraphKind:
    """Hold one kind of step graph: its tasks, and the segments that have it."""

    skeleton: Skeleton
    segments: tuple[str, ...]


def graph_kinds(model: Model) -> list[GraphKind]:
    """Return the kinds of step graphs of a model; raise UserError where an operator has no unit."""
    chains: dict[str, tuple[str, ...]] = {}
    return [
        GraphKind(arranged(skeleton(sketch, chains)), names)
        for sketch, names in folded_segments(model)
    ]


def folded_segments(model: Model) -> list[tuple[Sketch, tuple[str, ...]]]:
    """Return the distinct step graphs of a model, folded, each with its segments' names."""
    found: dict[tuple[object, ...], tuple[Sketch, list[str]]] = {}
    for segment in model.segments:
        sketch = fold(segment.graph)
        key = signature(sketch)
        found.setdefault(key, (sketch, []))[1].append(segment.name)
    return [(sketch, tuple(names)) for sketch, names in found.values()]


def signature(sketch: Sketch) -> tuple[object, ...]:
    """Return what two sketches share if one hardware serves both: structure, shapes and widths."""
    number = {n: i for i, n in enumerate((*sketch.inputs, *sketch.carries))}
    number |= {n.name: len(number) + i for i, n in enumerate(sketch.nodes)}

    def operand(name: str) -> object:
        type_ = sketch.types[name]
        return number.get(name, ("stored", type_.shape, type_.dtype.bits))

    nodes = tuple(
        (n.op.name, n.part, tuple(operand(i) for i in n.inputs),
         sketch.types[n.name].shape, sketch.types[n.name].dtype.bits)
        for n in sketch.nodes
    )  # fmt: skip
    ends = tuple(sketch.types[n].shape for n in sketch.inputs)
    return nodes, ends, tuple(number[v] for v in sketch.outputs.values()), sketch.layers
