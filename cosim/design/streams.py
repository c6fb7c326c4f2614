"""Say in which order elements flow: what a task has finished when, and what it needs by when.

A task steps through the elements of its span in its order; `position` is an element's place in it.
All arrays are over flat elements; nothing here knows lanes or cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from cosim.design.plan import Runs, Task
from cosim.design.sketch import SketchNode
from cosim.design.tasks import Skeleton
from cosim.design.wires import block_length, operand_map, result_map
from cosim.ir.types import TensorType
from cosim.ops import Attend, Linear

# A passage remembers for so many widths which beats are carried; few widths are asked for.
MOST_BEATS = 64


def runs_of(order: np.ndarray) -> Runs:
    """Write a permutation as runs of consecutive elements.

    >>> runs_of(np.array([5, 6, 0, 1, 2, 3, 4]))
    ((5, 7), (0, 5))
    """
    cuts = np.flatnonzero(np.diff(order) != 1) + 1
    edges = np.concatenate([[0], cuts, [order.size]])
    return tuple((int(order[a]), int(order[b - 1]) + 1) for a, b in pairwise(edges))


@dataclass(frozen=True)
class Passage:
    """Follow one value from its maker to one taker, in the order in which the maker lets it out.

    latest
        For each element of the taker's order (for a matrix unit: each column), how far in the
        maker's order it must have come by then; -1: not at all. Never falls.
    used
        Which of the elements, in the maker's order, the taker uses.
    """

    latest: np.ndarray
    used: np.ndarray

    @cached_property
    def counted(self) -> np.ndarray | None:
        """Return how many elements are used before each; None where all are used."""
        if bool(self.used.all()):
            return None
        return np.concatenate([[0], np.cumsum(self.used)])

    @cached_property
    def _carried(self) -> dict[int, np.ndarray]:
        return {}

    def carried(self, beat: int) -> np.ndarray:
        """Return which beats hold an element that is used: only those are sent on.

        >>> flags = np.array([True, False, False, False, True])
        >>> Passage(np.zeros(1, np.int64), flags).carried(2).tolist()
        [True, False, True]
        """
        if beat not in self._carried:
            if len(self._carried) == MOST_BEATS:
                self._carried.clear()
            edges = np.append(np.arange(0, self.used.size, beat), self.used.size)
            if self.counted is None:
                self._carried[beat] = np.ones(edges.size - 1, bool)
            else:
                counted = self.counted[edges]
                self._carried[beat] = counted[1:] > counted[:-1]
        return self._carried[beat]

    @cached_property
    def _counts(self) -> dict[int, int]:
        return {}

    def count(self, beat: int) -> int:
        """Count the beats that are sent on."""
        if beat not in self._counts:
            self._counts[beat] = int(self.carried(beat).sum())
        return self._counts[beat]

    def beats_by(self, ends: np.ndarray, beat: int) -> np.ndarray:
        """Return how many beats have to be there with each of some elements of the taker."""
        latest = self.latest[ends] // beat
        if self.counted is None:
            return latest + 1
        number = np.append(np.cumsum(self.carried(beat)), 0)  # the last one is that of beat -1
        return number[latest]

    @classmethod
    def of(cls, skeleton: Skeleton, maker: Task, taker: Task, root: str) -> Passage:
        """Follow a value, or look up how it went."""
        key = (cls, maker, taker, root)
        if key not in skeleton.known:
            skeleton.known[key] = _passage(skeleton, maker, taker, root)
        found = skeleton.known[key]
        assert isinstance(found, cls)
        return found


def _passage(skeleton: Skeleton, maker: Task, taker: Task, root: str) -> Passage:
    emitted = TaskStream.of(skeleton, maker).emission(root)
    place = np.empty(emitted.size + 1, np.int64)
    place[emitted] = np.arange(emitted.size)
    place[-1] = -1
    stream = TaskStream.of(skeleton, taker)
    if skeleton.kind(taker) == "matrix":
        latest = place[stream.columns(root)]
    elif skeleton.kind(taker) == "attention":
        latest = place[stream.columns_of_heads(root)].max(axis=0)
    else:
        latest = np.full(taker.span, -1, np.int64)
        for elements in stream.needs(root):
            np.maximum(latest, place[elements[stream.order]], out=latest)
    return Passage(np.maximum.accumulate(latest), stream.used(root)[emitted])


class TaskStream:
    """Follow the elements through one task."""

    def __init__(self, skeleton: Skeleton, task: Task) -> None:
        """Look at one task of a skeleton."""
        self.skeleton, self.task, self.sketch = skeleton, task, skeleton.sketch
        self._emissions: dict[str, np.ndarray] = {}
        self._made_in_turn: dict[str, np.ndarray] = {}

    @classmethod
    def of(cls, skeleton: Skeleton, task: Task) -> TaskStream:
        """Look at one task of a skeleton, or at what has been seen of it before."""
        key = (cls, task)
        if key not in skeleton.known:
            skeleton.known[key] = cls(skeleton, task)
        found = skeleton.known[key]
        assert isinstance(found, cls)
        return found

    @cached_property
    def order(self) -> np.ndarray:
        """Return the span elements in the order in which they are stepped through."""
        return np.concatenate([np.arange(a, b) for a, b in self.task.order])

    @cached_property
    def position(self) -> np.ndarray:
        """Return each span element's place in the order."""
        at = np.empty(self.task.span, np.int64)
        at[self.order] = np.arange(self.task.span)
        return at

    @cached_property
    def ready(self) -> dict[str, np.ndarray]:
        """Return for each node's result the position with which each element is complete."""
        found: dict[str, np.ndarray] = {}
        if self.skeleton.kind(self.task) == "attention":
            return {self.task.nodes[-1]: self._divided()}
        for name in self.task.nodes:
            node = self.sketch.node(name)
            found[name] = self._complete(node, self._in_step(node, found))
        return found

    def _divided(self) -> np.ndarray:
        """Return when an attention unit has divided each element: key head, channel, query head."""
        q, keys = self._attended
        (heads, channels), groups = q.shape, keys.shape[1]
        order = np.arange(heads * channels).reshape(groups, channels, heads // groups)
        return order.swapaxes(1, 2).reshape(-1)

    @cached_property
    def _attended(self) -> tuple[TensorType, TensorType]:
        """Return the types of the queries and of the keys of an attention task."""
        node = next(n for n in map(self.sketch.node, self.task.nodes) if isinstance(n.op, Attend))
        return self.sketch.types[node.inputs[0]], self.sketch.types[node.inputs[1]]

    def made(self, root: str) -> np.ndarray:
        """Return the positions at which the elements of a root made here are complete."""
        return self.ready.get(root, self.position)

    def emission(self, root: str) -> np.ndarray:
        """Return the elements of a root in the order in which they leave the unit."""
        if root not in self._emissions:
            self._emissions[root] = np.argsort(self.made(root), kind="stable")
        return self._emissions[root]

    def made_in_turn(self, root: str) -> np.ndarray:
        """Return the positions at which they are complete, in the order in which they leave."""
        if root not in self._made_in_turn:
            self._made_in_turn[root] = self.made(root)[self.emission(root)]
        return self._made_in_turn[root]

    def needs(self, root: str) -> list[np.ndarray]:
        """Return for each use of a root, for each span element, the root's element; -1: none.

        A matrix unit steps through columns instead: see `columns`; an attention unit by heads.
        """
        if not self.task.nodes:
            return [self._taken(root)]
        found = []
        for name in self.task.nodes:
            node = self.sketch.node(name)
            for k, operand in enumerate(node.inputs):
                if operand in self.sketch.stored or root not in self.skeleton.views[operand].roots:
                    continue
                element = self._elements(operand, root)
                whole = isinstance(node.op, Linear) or self.skeleton.kind(self.task) == "attention"
                picked = None if whole else operand_map(self.sketch, node, k)
                found.append(element if picked is None else element[picked])
        return found

    def columns(self, root: str) -> np.ndarray:
        """Return for each column of a linear task the latest element of a root that it needs."""
        node = self.sketch.node(self.task.nodes[0])
        op = node.op
        assert isinstance(op, Linear)
        k = self.sketch.types[node.inputs[0]].size
        latest = np.full(k, -1, np.int64)
        for slot, operand in enumerate(node.inputs):
            if operand in self.sketch.stored or root not in self.skeleton.views[operand].roots:
                continue
            element = self._elements(operand, root)
            at = np.arange(k) if slot == 0 else np.arange(k) // max(op.act_group, 1)
            latest = np.maximum(latest, element[at])
        return latest

    def columns_of_heads(self, root: str) -> np.ndarray:
        """Return which elements of a root an attention unit needs with a channel of a key head.

        [all uses, key head by channel]; -1: none. Queries come with the key head that they read.
        """
        q, keys = self._attended
        (heads, channels), groups = q.shape, keys.shape[1]
        of_key = np.arange(groups * channels)
        found = []
        for name in self.task.nodes:
            node = self.sketch.node(name)
            for operand in node.inputs:
                if operand in self.sketch.stored or root not in self.skeleton.views[operand].roots:
                    continue
                element = self._elements(operand, root)
                if element.size == q.size and self.sketch.types[operand].shape == q.shape:
                    by_head = element.reshape(groups, heads // groups, channels)
                    found += list(by_head.swapaxes(0, 1).reshape(heads // groups, -1))
                elif element.size == of_key.size:
                    found.append(element)
                else:
                    found.append(np.full(of_key.size, element.max()))
        return np.stack(found)

    def used(self, root: str) -> np.ndarray:
        """Return which elements of a root this task takes, as flags."""
        flags = np.zeros(self.sketch.types[root].size, bool)
        for elements in self.needs(root):
            flags[elements[elements >= 0]] = True
        return flags

    def _taken(self, root: str) -> np.ndarray:
        """Return what a sink, a source or a switch takes."""
        name, views = self.task.name, self.skeleton.views
        if name in self.sketch.carries:
            carry = self.sketch.carries[name]
            first = carry.first if carry.first and root in views[carry.first].roots else None
            return self._elements(first or carry.block, root)
        return self._elements(self.sketch.outputs[name.removeprefix("sink.")], root)

    def _elements(self, operand: str, root: str) -> np.ndarray:
        """Return for each element of an operand the element of the root, or -1."""
        view = self.skeleton.views[operand]
        size = self.sketch.types[operand].size
        element = np.arange(size) if view.element is None else view.element
        if view.root is None:
            return element
        return np.where(view.root == view.roots.index(root), element, -1)

    def _in_step(self, node: SketchNode, found: dict[str, np.ndarray]) -> np.ndarray:
        """Return the position with which each span element of a node can be done."""
        at = self.position
        if isinstance(node.op, Linear):
            return at
        for k, operand in enumerate(node.inputs):
            if operand in self.sketch.stored:
                continue
            picked = operand_map(self.sketch, node, k)
            for root in self.skeleton.views[operand].roots:
                if root in found:
                    done = found[root]
                    if not self.skeleton.views[operand].is_whole:
                        element = self._elements(operand, root)
                        done = np.where(element >= 0, done[element], -1)
                    at = np.maximum(at, done if picked is None else done[picked])
        return at

    def _complete(self, node: SketchNode, at: np.ndarray) -> np.ndarray:
        """Return the position with which each element of a node's result is complete."""
        length = block_length(self.sketch, node)
        if length > 1:
            return np.repeat(at.reshape(-1, length).max(axis=1), length)
        into = result_map(self.sketch, node)
        if into is None:
            return at
        size = self.sketch.types[node.name].size
        if node.op.name in {"contract", "argmax"}:
            return at.reshape(size, -1).max(axis=1)
        done = np.full(size, -1, np.int64)
        np.maximum.at(done, into, at)
        return done
