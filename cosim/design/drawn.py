"""Find what a task draws from the memory where constants or windows of all layers live there.

Constants come in beats. A step that is the first to need some elements of any of its task's
constants pops one beat, which has all that the step is the first to need; what later steps need
again stays in the unit. Tables that all layers share, and what is one number for a whole layer
(a shift), stay on chip. A window comes, and goes back, with the step of its channels: the values
that a convolution keeps from one token to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.design.features import TABLES
from cosim.design.plan import Task
from cosim.design.sketch import SketchNode
from cosim.design.streams import TaskStream
from cosim.design.tasks import Skeleton, layer_of
from cosim.design.wires import operand_map
from cosim.ops import Linear

FILTERS = ("fir", "shift_fir")
# Units that can take constants with their steps.
DRAWING = ("vector", "norm", "fir", "state")


@dataclass(frozen=True)
class Drawn:
    """Hold one constant of a layer: where in its task's order each element is first needed.

    `bits` are those of an element with all its taps; `again` tells that some later step needs an
    element that came before others.
    """

    operand: str
    bits: int
    first: np.ndarray
    again: bool


def drawn_constants(skeleton: Skeleton, task: Task) -> tuple[Drawn, ...]:
    """Return the constants of a layer that a task would draw from the memory."""
    key = "drawn", task
    if key not in skeleton.known:
        skeleton.known[key] = _drawn(skeleton, task)
    found = skeleton.known[key]
    assert isinstance(found, tuple)
    return found


def is_drawn(skeleton: Skeleton, node: SketchNode, operand: str) -> bool:
    """Tell whether an operand is a constant of a layer that may live off chip apart."""
    sketch = skeleton.sketch
    constant = operand in sketch.stored and operand not in sketch.states
    if isinstance(node.op, Linear) or node.op.name in {"embed", *TABLES} or not constant:
        return False
    task = skeleton.by_name.get(skeleton.maker.get(node.name, ""))
    if task is None or skeleton.kind(task) not in DRAWING:
        return False
    return bool(layer_of(operand)) and sketch.types[operand].size > 1


def _drawn(skeleton: Skeleton, task: Task) -> tuple[Drawn, ...]:
    found: dict[str, Drawn] = {}
    for name in task.nodes:
        node = skeleton.sketch.node(name)
        for k, operand in enumerate(node.inputs):
            if operand not in found and is_drawn(skeleton, node, operand):
                found[operand] = _one(skeleton, task, node, k)
    return tuple(found.values())


def _one(skeleton: Skeleton, task: Task, node: SketchNode, k: int) -> Drawn:
    """Follow one constant through the steps of a task."""
    type_ = skeleton.sketch.types[node.inputs[k]]
    own, order = np.arange(task.span), TaskStream.of(skeleton, task).order
    if node.op.name in FILTERS:
        # All taps of a channel come together; a group of channels may share them.
        count = type_.shape[-1]
        element = own // -(-task.span // count)
    else:
        picked = operand_map(skeleton.sketch, node, k)
        count = type_.size
        element = own if picked is None else picked
    stepped = element[order]
    first = np.full(count, task.span, np.int64)
    np.minimum.at(first, stepped, np.arange(task.span))
    newest = np.maximum.accumulate(first[stepped])
    again = bool((first[stepped] < newest).any()) or skeleton.kind(task) == "norm"
    return Drawn(node.inputs[k], type_.size // count * type_.dtype.bits, first, again)


def constant_bits(skeleton: Skeleton, task: Task) -> int:
    """Return the bits of constants that a task draws in one turn."""
    return sum(d.bits * d.first.size for d in drawn_constants(skeleton, task))


def constant_beats(skeleton: Skeleton, task: Task, lanes: int) -> np.ndarray:
    """Return which steps of a task pop a beat of constants, as flags."""
    flags = np.zeros(-(-task.span // lanes), bool)
    for drawn in drawn_constants(skeleton, task):
        flags[drawn.first // lanes] = True
    return flags


def constant_width(skeleton: Skeleton, task: Task, lanes: int) -> int:
    """Return the bits of a task's widest beat of constants; 0: it draws none."""
    steps = -(-task.span // lanes)
    bits = np.zeros(steps, np.int64)
    for drawn in drawn_constants(skeleton, task):
        bits += drawn.bits * np.bincount(drawn.first // lanes, minlength=steps)
    return int(bits.max(initial=0))


def window_bits(skeleton: Skeleton, task: Task) -> int:
    """Return the bits of windows that a task takes, and gives back, for one token.

    All values but the newest: that one comes with the token.
    """
    sketch, total = skeleton.sketch, 0
    for name in task.nodes:
        node = sketch.node(name)
        if node.op.name == "push" and node.inputs[0] in sketch.states and _filters(skeleton, task):
            window, x = (sketch.types[n].size_bits for n in node.inputs)
            total += window - x
    return total


def _filters(skeleton: Skeleton, task: Task) -> bool:
    """Tell whether what a task keeps is a convolution's window, not a cache."""
    return any(skeleton.sketch.node(n).op.name in FILTERS for n in task.nodes)


def drawing_tasks(skeleton: Skeleton) -> list[tuple[Task, int]]:
    """Return every task that draws constants with its turns per token."""
    return skeleton.once("drawing tasks", _drawing_tasks)


def _drawing_tasks(skeleton: Skeleton) -> list[tuple[Task, int]]:
    return [(t, _turns(skeleton, t)) for t in skeleton.tasks if drawn_constants(skeleton, t)]


def window_tasks(skeleton: Skeleton) -> list[tuple[Task, int]]:
    """Return every task that keeps windows with its turns per token."""
    return skeleton.once("window tasks", _window_tasks)


def _window_tasks(skeleton: Skeleton) -> list[tuple[Task, int]]:
    return [(t, _turns(skeleton, t)) for t in skeleton.tasks if window_bits(skeleton, t)]


def _turns(skeleton: Skeleton, task: Task) -> int:
    return skeleton.sketch.layers if task.part == "block" else 1
