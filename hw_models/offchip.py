"""Count the bits that a node moves off chip beside weights, states and the embedding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from cosim.design.design import Design
from cosim.design.drawn import FILTERS, is_drawn
from cosim.design.plan import Fifo, Layout
from cosim.design.sketch import SketchNode
from cosim.design.tasks import Skeleton
from cosim.design.traffic import sequence_bits, spilt_bits
from cosim.ir.graph import Graph, Node
from cosim.ir.work import Work


@dataclass(frozen=True)
class Constants:
    """Hold the bits of a node's constants that live off chip, and of those that it has beside.

    `beside` are read on chip every time; `counted`: the node's work counts all of them as
    constants, not some as operands that stream in.
    """

    drawn: int
    beside: int
    counted: bool


def constants_of_node(
    skeleton: Skeleton, design: Design, graph: Graph, node: Node, own: SketchNode, work: Work
) -> Constants:
    """Return what a node reads of constants; `own` is its node in the sketch."""
    drawn = total = 0
    for operand, name in zip(node.inputs, own.inputs, strict=True):
        if operand in graph.consts:
            total += graph.types[operand].size_bits
            if design.places["constants"] == "memory" and is_drawn(skeleton, own, name):
                drawn += graph.types[operand].size_bits
    counted = work.const_bits == total
    return Constants(drawn, work.const_bits - drawn if counted else work.const_bits, counted)


def window_moves(design: Design, graph: Graph, node: Node) -> Fraction:
    """Return how often a token moves the window of a push, each way; 0: it lives on chip."""
    if node.op.name != "push" or design.places["windows"] == "chip" or not is_window(graph, node):
        return Fraction(0)
    return design.choices.state_moves


def is_window(graph: Graph, push: Node) -> bool:
    """Tell a convolution's window from a cache by who reads it, new or a token old."""
    kept = {push.name, *(name for name, s in graph.states.items() if s.next == push.name)}
    readers = {n.op.name for n in graph.nodes if n is not push and kept & set(n.inputs)}
    return readers <= set(FILTERS)


def spilt_fifos(skeleton: Skeleton, layout: Layout, is_prompt: bool) -> Iterator[Fifo]:
    """Give the FIFOs that are spilt, those that are at work."""
    for fifo in layout.fifos:
        ends = skeleton.task(fifo.maker), skeleton.task(fifo.taker)
        if fifo.near and not (is_prompt and not all(map(skeleton.in_prompt, ends))):
            yield fifo


def spilt_by_node(skeleton: Skeleton, layout: Layout, is_prompt: bool) -> Counter[str]:
    """Return the bits that go off chip through FIFOs, one way, by the node that makes them."""
    found: Counter[str] = Counter()
    for fifo in spilt_fifos(skeleton, layout, is_prompt):
        found[fifo.value] += spilt_bits(skeleton, fifo)
    return found


def sequences_by_node(skeleton: Skeleton, layout: Layout, design: Design) -> Counter[str]:
    """Return the bits of sequences off chip by the node that first reads, or makes, each."""
    found: Counter[str] = Counter()
    for name in layout.sequences if design.places["sequences"] == "memory" else ():
        found[_owner(skeleton, name)] += sequence_bits(skeleton, name)
    return found


def _owner(skeleton: Skeleton, name: str) -> str:
    sketch = skeleton.sketch
    if name.startswith("sink."):
        value = sketch.outputs[name.removeprefix("sink.")]
        roots = (value, *skeleton.views[value].roots)
        makes = [n.name for n in sketch.nodes if n.name in roots and n.name in skeleton.maker]
    else:
        root = name.removeprefix("source.")
        makes = [
            n.name for n in sketch.nodes if n.name in skeleton.maker
            and any(root in skeleton.views[o].roots for o in n.inputs if o not in sketch.stored)
        ]  # fmt: skip
    # A value that a segment only hands through counts with its first node.
    return (makes or [n.name for n in sketch.nodes if n.name in skeleton.maker])[0]
