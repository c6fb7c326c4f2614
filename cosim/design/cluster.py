"""Group operators into pipelines: chains of one span that can go through one unit in step.

Two operators share a pipeline where one reads the other's result element by element, as long as
the groups stay free of cycles and none that others wait for is held up by a later operand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from cosim.design.kinds import Carrier, carrier_of
from cosim.design.sketch import Part, Sketch, SketchNode
from cosim.design.wires import View, operand_map, result_map, span_shape, views

# What an attention unit does with one another's results.
ATTENTION = {("cache_write", "attend"), ("attend", "divide")}


@dataclass
class Group:
    """Collect the nodes of one pipeline; `number` is its place in the order of the graph."""

    number: int
    kind: Carrier
    part: Part
    span: int
    nodes: list[SketchNode] = field(default_factory=list)


class Grouping:
    """Hold the groups of a sketch while they are merged."""

    def __init__(self, sketch: Sketch, fused: bool = True) -> None:
        """Give every node that needs a unit a group of its own; raise UserError where none fits.

        Where not `fused`, only what belongs to the loop of one state shares a group.
        """
        self.sketch = sketch
        self.may_share = None if fused else _state_loops(sketch)
        self.views: dict[str, View] = views(sketch)
        self.groups: dict[int, Group] = {}
        self.group_of: dict[str, int] = {}
        self.place = {node.name: k for k, node in enumerate(sketch.nodes)}
        for number, node in enumerate(sketch.nodes):
            kind = carrier_of(node.op.name, node.name)
            if kind != "wire":
                span = prod(span_shape(sketch, node))
                self.groups[number] = Group(number, kind, node.part, span, [node])
                self.group_of[node.name] = number

    def sources(self, node: SketchNode) -> list[str]:
        """Return the roots that a node reads."""
        flowing = [n for n in node.inputs if n not in self.sketch.stored]
        return [root for n in flowing for root in self.views[n].roots]

    def edges(self) -> dict[int, set[int]]:
        """Return for each group the groups that read from it."""
        out: dict[int, set[int]] = {g: set() for g in self.groups}
        for number, group in self.groups.items():
            for node in group.nodes:
                for root in self.sources(node):
                    maker = self.group_of.get(root)
                    if maker is not None and maker != number:
                        out[maker].add(number)
        return out

    def merge_all(self) -> None:
        """Merge whatever may be merged, in the order of the graph."""
        for node in self.sketch.nodes:
            if node.name not in self.group_of:
                continue
            for k, operand in enumerate(node.inputs):
                if operand in self.sketch.stored or not self._in_step(node, k):
                    continue
                maker = self.group_of.get(self.views[operand].roots[0])
                if maker is not None and self._may_merge(maker, self.group_of[node.name]):
                    self._merge(maker, self.group_of[node.name])

    def order(self) -> list[Group]:
        """Return the groups so that each comes after those it reads; ties as in the graph."""
        waiting = dict.fromkeys(self.groups, 0)
        edges = self.edges()
        for takers in edges.values():
            for taker in takers:
                waiting[taker] += 1
        ready = sorted(g for g, count in waiting.items() if count == 0)
        listed = []
        while ready:
            number = ready.pop(0)
            listed.append(self.groups[number])
            for taker in edges[number]:
                waiting[taker] -= 1
                if waiting[taker] == 0:
                    ready.append(taker)
            ready.sort()
        return listed

    def _in_step(self, node: SketchNode, k: int) -> bool:
        """Tell whether operand k is made element by element as the node steps."""
        view = self.views[node.inputs[k]]
        maker = self.group_of.get(view.roots[0])
        if maker is None or not view.is_whole:
            return False
        source = self.sketch.node(view.roots[0])
        kinds = {self.groups[maker].kind, self.groups[self.group_of[node.name]].kind}
        if "attention" in kinds:
            return (source.op.name, node.op.name) in ATTENTION
        if source.op.name == "push" or self.groups[self.group_of[node.name]].kind == "fir":
            return source.op.name == "push" and node.op.name in {"fir", "shift_fir"}
        if self.may_share is not None and not {node.name, source.name} <= self.may_share:
            return False
        if not kinds <= {"vector", "state"}:
            return False
        same_span = self.groups[maker].span == self.groups[self.group_of[node.name]].span
        scales = source.op.name in {"group_scale", "group_shift"}
        codes = scales and node.op.name in {"quantize", "dequantize"}
        straight = operand_map(self.sketch, node, k) is None
        plain_result = result_map(self.sketch, source) is None
        return same_span and (codes or (straight and plain_result))

    def _may_merge(self, first: int, second: int) -> bool:
        if first == second or self.groups[first].part != self.groups[second].part:
            return False
        edges = self.edges()
        between = [g for g in edges[first] if g != second]
        seen: set[int] = set()
        while between:
            group = between.pop()
            if group == second:
                return False
            if group not in seen:
                seen.add(group)
                between += edges[group]
        if edges[first] <= {second}:
            return True
        # Others wait for the first group: no operand of the second may come later than it does.
        levels = self._levels(edges)
        late = [m for m, takers in edges.items() if second in takers and m != first]
        return all(levels[m] < levels[first] or m == first for m in late)

    def _levels(self, edges: dict[int, set[int]]) -> dict[int, int]:
        levels = dict.fromkeys(self.groups, 0)
        for group in self.order():
            for taker in edges[group.number]:
                levels[taker] = max(levels[taker], levels[group.number] + 1)
        return levels

    def _merge(self, first: int, second: int) -> None:
        keep, gone = self.groups[first], self.groups.pop(second)
        keep.nodes = sorted([*keep.nodes, *gone.nodes], key=lambda n: self.place[n.name])
        if keep.kind == "attention":
            keep.span = gone.span
        keep.kind = "state" if "state" in {keep.kind, gone.kind} else keep.kind
        for node in gone.nodes:
            self.group_of[node.name] = first


def _state_loops(sketch: Sketch) -> set[str]:
    """Return the nodes on a way from a state to its next value: one unit reads and writes it."""
    takers: dict[str, list[str]] = {}
    for node in sketch.nodes:
        for operand in node.inputs:
            takers.setdefault(operand, []).append(node.name)
    inputs = {n.name: n.inputs for n in sketch.nodes}
    found: set[str] = set()
    for state, written in sketch.states.items():
        behind = _closure(state, takers)
        before = _closure(written, inputs)
        found |= behind & (before | {written}) & inputs.keys()
    return found


def _closure(start: str, edges: Mapping[str, Sequence[str]]) -> set[str]:
    """Return all that can be reached from a name."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in edges.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen
