"""Sort the step graphs of a model by kind: one layout serves all segments of one kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cosim.design.arrange import arranged
from cosim.design.choices import Order, Sharing
from cosim.design.sketch import Sketch, fold, wider
from cosim.design.tasks import Skeleton, skeleton
from cosim.ir.model import Model
from cosim.ir.types import TensorType


@dataclass(frozen=True)
class GraphKind:
    """Hold one kind of step graph: its tasks, and the segments that have it."""

    skeleton: Skeleton
    segments: tuple[str, ...]


def graph_kinds(
    model: Model, order: Order = "waited", fused: bool = True, matrix: Sharing = "shared"
) -> list[GraphKind]:
    """Return the kinds of step graphs of a model; raise UserError where an operator has no unit.

    The rest of the arguments are fields of `Choices`: all of them that decide on tasks.
    """
    return kinds_of(folded_segments(model), order, fused, matrix)


def kinds_of(
    folded: Iterable[tuple[Sketch, tuple[str, ...]]], order: Order, fused: bool, matrix: Sharing
) -> list[GraphKind]:
    """Return the kinds of step graphs from the folded segments of a model."""
    chains: dict[str, tuple[str, ...]] = {}
    return [
        GraphKind(arranged(skeleton(sketch, chains, fused, matrix), order), names)
        for sketch, names in folded
    ]


def folded_segments(model: Model) -> list[tuple[Sketch, tuple[str, ...]]]:
    """Return the distinct step graphs of a model, folded, each with its segments' names.

    Names and types are those of the first segment of a kind, widened to fit all of them.
    """
    found: dict[tuple[object, ...], tuple[Sketch, list[str]]] = {}
    for segment in model.segments:
        sketch = fold(segment.graph)
        key = structure(sketch)
        if key in found:
            first, names = found[key]
            found[key] = (_widened(first, sketch), [*names, segment.name])
        else:
            found[key] = (sketch, [segment.name])
    return [(sketch, tuple(names)) for sketch, names in found.values()]


def structure(sketch: Sketch) -> tuple[object, ...]:
    """Return what two sketches share if one hardware serves both: operators, wiring, shapes."""
    number = {n: i for i, n in enumerate((*sketch.inputs, *sketch.carries))}
    number |= {n.name: len(number) + i for i, n in enumerate(sketch.nodes)}
    nodes = tuple(
        (
            node.op.name,
            node.part,
            tuple(number.get(n, "stored") for n in node.inputs),
            sketch.types[node.name].shape,
        )
        for node in sketch.nodes
    )
    inputs = tuple((n, sketch.types[n].shape) for n in sketch.inputs)
    outputs = tuple((name, number[value]) for name, value in sketch.outputs.items())
    return nodes, inputs, outputs, sketch.layers


def _widened(sketch: Sketch, other: Sketch) -> Sketch:
    """Widen the types of a sketch to hold those of another one of the same structure."""
    types: dict[str, TensorType] = dict(sketch.types)
    pairs = list(zip(sketch.inputs, other.inputs, strict=True))
    pairs += list(zip(sketch.carries, other.carries, strict=True))
    for ours, theirs in zip(sketch.nodes, other.nodes, strict=True):
        pairs += [(ours.name, theirs.name), *zip(ours.inputs, theirs.inputs, strict=True)]
    for name, same in pairs:
        types[name] = wider(types[name], other.types[same])
    return replace(sketch, types=types)
