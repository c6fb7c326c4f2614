"""Follow elements through slices, reshapes, joins and broadcasts, as index arrays.

Glossary:
    root      a value that a unit makes, an input or a carry: all that is not merely wired
    span      the elements that an operator steps through, in row-major order of `span_shape`
    operand map  for each span element the flat element of the operand that it needs
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from cosim.design.kinds import KIND_OF_OP
from cosim.design.sketch import Sketch, SketchNode
from cosim.ir.errors import InternalError
from cosim.ops import (
    Concat,
    Count,
    Dequantize,
    GroupScale,
    GroupShift,
    Hadamard,
    Linear,
    Quantize,
    Reshape,
    ShiftDecay,
    Slice,
    Spread,
    Transpose,
)


@dataclass(frozen=True)
class View:
    """Say where each flat element of a value comes from: root number and element of that root.

    `element` None: all elements of the one root, in order.
    """

    roots: tuple[str, ...]
    root: np.ndarray | None
    element: np.ndarray | None

    @property
    def is_whole(self) -> bool:
        """Tell whether the value is its one root, renamed."""
        return self.element is None


def views(sketch: Sketch) -> dict[str, View]:
    """Return the view of every value that flows: inputs, carries, nodes."""
    found: dict[str, View] = {}
    for name in (*sketch.inputs, *sketch.carries):
        found[name] = View((name,), None, None)
    for node in sketch.nodes:
        if KIND_OF_OP.get(node.op.name) == "wire":
            found[node.name] = _wired(sketch, node, [found[n] for n in node.inputs if n in found])
        else:
            found[node.name] = View((node.name,), None, None)
    return found


def _wired(sketch: Sketch, node: SketchNode, parts: list[View]) -> View:
    op = node.op
    if isinstance(op, Reshape):
        return parts[0]
    if isinstance(op, Count):
        return View((), None, None)
    shapes = [sketch.types[n].shape for n in node.inputs]
    if isinstance(op, Slice):
        roots, root, element = _spelt(parts[0], prod(shapes[0]))
        cut = [a.reshape(shapes[0])[..., op.start : op.stop].reshape(-1) for a in (root, element)]
        return View(roots, *cut)
    if isinstance(op, Spread | Transpose):
        roots, root, element = _spelt(parts[0], prod(shapes[0]))
        moved = [op.meaning(a.reshape(shapes[0])).reshape(-1) for a in (root, element)]
        return View(roots, *moved)
    if not isinstance(op, Concat):
        raise InternalError(f"node {node.name!r}: no rule to wire {op.name}")
    roots = tuple(dict.fromkeys(r for p in parts for r in p.roots))
    numbers, elements = [], []
    for part, shape in zip(parts, shapes, strict=True):
        own, root, element = _spelt(part, prod(shape))
        renumber = np.array([roots.index(r) for r in own])
        numbers.append(renumber[root].reshape(shape))
        elements.append(element.reshape(shape))
    joined = [np.concatenate(a, axis=-1).reshape(-1) for a in (numbers, elements)]
    return View(roots, *joined)


def _spelt(view: View, size: int) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    root = np.zeros(size, np.int64) if view.root is None else view.root
    return view.roots, root, np.arange(size) if view.element is None else view.element


def span_shape(sketch: Sketch, node: SketchNode) -> tuple[int, ...]:
    """Return the shape of the elements that an operator steps through."""
    name, types = node.op.name, [sketch.types[n] for n in node.inputs]
    if name == "contract":
        return tuple(np.broadcast_shapes(types[0].shape, types[1].shape))
    if name in {"group_scale", "group_shift", "group_read", "argmax"}:
        return types[0].shape
    if name == "push":
        return types[1].shape
    return sketch.types[node.name].shape


def operand_map(sketch: Sketch, node: SketchNode, k: int) -> np.ndarray | None:
    """Return the operand map of operand k, flat; None where it is the identity.

    Not for the operands of `linear`, whose unit steps through them by columns.
    """
    shape, span = sketch.types[node.inputs[k]].shape, span_shape(sketch, node)
    op = node.op
    if isinstance(op, Linear):
        raise InternalError(f"node {node.name!r}: operands of linear are not stepped through")
    if op.name in {"push", "fir", "shift_fir"} or shape == span:
        return None
    if isinstance(op, Quantize | Dequantize | ShiftDecay) and k == 1:
        group = np.arange(span[-1]) // op.group
        rows = np.arange(prod(span[:-1]))[:, None] * shape[-1]
        return (rows + group[None, :]).reshape(-1)
    if shape == ():
        return np.zeros(prod(span), np.int64)
    if len(shape) != len(span):
        raise InternalError(f"node {node.name!r}: operand {k} {shape} does not match {span}")
    flat = np.arange(prod(shape)).reshape(shape)
    return np.ascontiguousarray(np.broadcast_to(flat, span)).reshape(-1)


def result_map(sketch: Sketch, node: SketchNode) -> np.ndarray | None:
    """Return for each span element the element of the result that it completes.

    None where it is the identity: each span element gives one element of the result.
    """
    span = span_shape(sketch, node)
    size = prod(span)
    op = node.op
    if isinstance(op, GroupScale | GroupShift):
        out = sketch.types[node.name].shape
        group = np.arange(span[-1]) // op.group
        return (np.arange(prod(span[:-1]))[:, None] * out[-1] + group[None, :]).reshape(-1)
    if op.name == "group_read":
        rows = np.arange(size).reshape(-1, *span[-2:])
        columns = np.arange(size // span[-2]).reshape(-1, 1, span[-1])
        return np.broadcast_to(columns, rows.shape).reshape(-1)
    if op.name in {"contract", "argmax"}:
        return np.arange(size) // span[-1]
    return None


def block_length(sketch: Sketch, node: SketchNode) -> int:
    """Return how many consecutive span elements must be in before the first result is out.

    1 for elementwise operators; a norm needs its vector, a rotation its block.
    """
    if node.op.name in {"rms_norm", "rms_table", "center"}:
        return span_shape(sketch, node)[-1]
    if isinstance(node.op, Hadamard):
        return node.op.order
    return 1
