"""Fold a step graph: what stands before the layers, one layer for all of them, what comes after.

A node `layers.3.conv.out` becomes `layers.*.conv.out`, laid out once and used for every layer. The
value that one layer hands to the next is a **carry**: in the first turn it is a value from before
the layers, then the previous layer's. A graph whose layers differ, in operators, shapes, or the
widths of weights and states, or that has none, is not folded: all of it is one block that is done
once a token, each layer by its own shapes, on units and FIFOs that the layers share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Literal

from cosim.ir.graph import Graph, Node
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType
from cosim.ops import Linear

Part = Literal["before", "block", "after"]
_LAYER = re.compile(r"layers\.(\d+)\.(.+)")
STAR = "layers.*."


@dataclass(frozen=True)
class SketchNode:
    """Hold a node of the folded graph; `inputs` are names of the sketch."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    part: Part


@dataclass(frozen=True)
class Carry:
    """Say what a carry is in the first turn and afterwards; `first` None: only used behind."""

    first: str | None
    block: str


@dataclass(frozen=True)
class Sketch:
    """Hold a folded graph. `types` has the widest type that any layer uses for a value.

    `carries` maps a carry's name to what feeds it. `stored` are constants and states: operands
    that a unit has in its own memory.
    """

    name: str
    nodes: tuple[SketchNode, ...]
    inputs: tuple[str, ...]
    outputs: Mapping[str, str]
    carries: Mapping[str, Carry]
    stored: frozenset[str]
    states: Mapping[str, str]
    types: Mapping[str, TensorType]
    layers: int

    @cached_property
    def by_name(self) -> Mapping[str, SketchNode]:
        """Return the nodes by name."""
        return {n.name: n for n in self.nodes}

    def node(self, name: str) -> SketchNode:
        """Return a node by name."""
        return self.by_name[name]

    def part_of(self, value: str) -> Part:
        """Return the part that makes a value; inputs come before."""
        parts = {n.name: n.part for n in self.nodes}
        return parts.get(value, "before" if self.layers > 1 else "block")


def folded_name(name: str) -> str:
    """Return the name in the sketch of a value of a layer.

    >>> folded_name("layers.12.conv.out"), folded_name("final_norm")
    ('layers.*.conv.out', 'final_norm')
    """
    match = _LAYER.fullmatch(name)
    return f"{STAR}{match[2]}" if match else name


def fold(graph: Graph) -> Sketch:
    """Return the sketch of a step graph."""
    layers = _layers(graph)
    folded = _fold_layers(graph, layers) if len(layers) > 1 else None
    return folded if folded is not None else _plain(graph)


def _layers(graph: Graph) -> dict[int, list[Node]]:
    """Return the nodes of each layer by number."""
    layers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        match = _LAYER.fullmatch(node.name)
        if match:
            layers.setdefault(int(match[1]), []).append(node)
    return layers


def _plain(graph: Graph) -> Sketch:
    nodes = tuple(SketchNode(n.name, n.op, n.inputs, "block") for n in graph.nodes)
    return Sketch(
        graph.name, nodes, graph.inputs, dict(graph.outputs), {},
        frozenset((*graph.consts, *graph.states)),
        {name: s.next for name, s in graph.states.items()}, graph.types, 1,
    )  # fmt: skip


def _fold_layers(graph: Graph, layers: dict[int, list[Node]]) -> Sketch | None:
    """Fold layers 0..L-1 into one, or return None where they are not alike."""
    count = len(layers)
    if sorted(layers) != list(range(count)):
        return None
    stored = {*graph.consts, *graph.states}
    carried = _carried(graph, layers, stored)
    if carried is None:
        return None
    carries = {f"carry.{block.removeprefix(STAR)}": Carry(first, block)
               for block, first in carried.items()}  # fmt: skip
    carry_of = {c.block: name for name, c in carries.items()}
    nodes, behind = [], False
    for node in graph.nodes:
        match = _LAYER.fullmatch(node.name)
        if match:
            behind = behind or int(match[1]) == count - 1
            if int(match[1]) != 1:
                continue
        inputs = []
        for operand in node.inputs:
            layer = _LAYER.fullmatch(operand)
            if operand in stored or not layer or (match and layer[1] == match[1]):
                inputs.append(folded_name(operand))
            elif (match and int(layer[1]) == 0) or (not match and int(layer[1]) == count - 1):
                block = folded_name(operand)
                if block not in carry_of:
                    carry_of[block] = f"carry.{block.removeprefix(STAR)}"
                    carries[carry_of[block]] = Carry(None, block)
                inputs.append(carry_of[block])
            else:
                return None
        part: Part = "block" if match else "after" if behind else "before"
        nodes.append(SketchNode(folded_name(node.name), node.op, tuple(inputs), part))
    nodes = _in_order(nodes)
    outputs = {}
    for name, value in graph.outputs.items():
        if _LAYER.fullmatch(value):
            return None
        outputs[name] = value
    return Sketch(
        graph.name, tuple(nodes), graph.inputs, outputs, carries,
        frozenset(folded_name(n) for n in stored),
        {folded_name(n): folded_name(s.next) for n, s in graph.states.items()},
        _widest(graph, carries), count,
    )  # fmt: skip


def _in_order(nodes: list[SketchNode]) -> list[SketchNode]:
    order = ("before", "block", "after")
    return sorted(nodes, key=lambda n: order.index(n.part))


def _carried(
    graph: Graph, layers: dict[int, list[Node]], stored: set[str]
) -> dict[str, str] | None:
    """Return which block values go from layer to layer, and what they are in the first turn."""
    first: dict[str, str] = {}
    model = layers[0]
    for number, nodes in layers.items():
        if len(nodes) != len(model):
            return None
        for node, like in zip(nodes, model, strict=True):
            same = node.op.name == like.op.name and folded_name(node.name) == folded_name(like.name)
            if not same or graph.types[node.name].shape != graph.types[like.name].shape:
                return None
            if len(node.inputs) != len(like.inputs):
                return None
            for operand, other in zip(node.inputs, like.inputs, strict=True):
                if operand in stored and other in stored:
                    # What streams, or is kept by the bit, must be as wide in every layer.
                    counted = isinstance(node.op, Linear) and operand == node.inputs[1]
                    counted = counted or operand in graph.states
                    if counted and graph.types[operand].dtype.bits != graph.types[other].dtype.bits:
                        return None
                    continue
                here = _LAYER.fullmatch(operand)
                inside = here and int(here[1]) == number
                if inside and folded_name(operand) == folded_name(other):
                    continue
                from_last = number and here and int(here[1]) == number - 1
                if from_last and first.setdefault(folded_name(operand), other) == other:
                    continue
                # Layer 0 alone may read what stands before: that is what it is handed.
                if number or here or operand in stored or other in stored:
                    return None
    return first


def _widest(graph: Graph, carries: Mapping[str, Carry]) -> dict[str, TensorType]:
    types: dict[str, TensorType] = {}
    for name, type_ in graph.types.items():
        key = folded_name(name)
        types[key] = wider(types.get(key, type_), type_)
    for name, carry in carries.items():
        like = types[carry.block]
        bits = max(like.dtype.bits, types[carry.first].dtype.bits if carry.first else 0)
        types[name] = replace(like, dtype=IntType(bits, like.dtype.signed))
    return types


def wider(a: TensorType, b: TensorType) -> TensorType:
    """Return the type that fits both: the wider integers, the larger shape.

    Constants may be one number in one layer and one per channel in another.
    """
    if a is b:
        return a
    dtype, shape = max(a.dtype, b.dtype), max(a.shape, b.shape, key=prod)  # by bits, by size
    return a if (dtype, shape) == (a.dtype, a.shape) else replace(a, dtype=dtype, shape=shape)
