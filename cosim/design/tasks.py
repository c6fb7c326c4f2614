"""Turn a sketch into tasks: one per pipeline, one per carry, one per input and output."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TypeVar

from cosim.design.choices import Sharing
from cosim.design.cluster import Grouping
from cosim.design.kinds import Kind
from cosim.design.plan import Task
from cosim.design.sketch import STAR, Part, Sketch
from cosim.design.wires import View
from cosim.ir.errors import UserError
from cosim.ops import Count

T = TypeVar("T")
# One unit serves all tasks of these kinds, in static order.
SHARED = ("matrix", "attention", "state", "fir", "hadamard", "norm", "memory")
# What they do for one token, later ones wait for.
REMEMBERS = ("attention", "state")
_LAYER = re.compile(r"layers\.(\d+|\*)\.")


@dataclass(frozen=True)
class Skeleton:
    """Hold the tasks of a sketch, who makes each root, and the kind of each unit.

    `known` keeps what has been found out of it and does not depend on lanes.
    """

    sketch: Sketch
    tasks: tuple[Task, ...]
    maker: Mapping[str, str]
    kinds: Mapping[str, Kind]
    views: Mapping[str, View]
    known: dict[object, object] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def by_name(self) -> Mapping[str, Task]:
        """Return the tasks by name."""
        return {t.name: t for t in self.tasks}

    def once(self, what: str, find: Callable[[Skeleton], T]) -> T:
        """Return what a function finds out of these tasks, found only once."""
        if what not in self._found:
            self._found[what] = find(self)
        return self._found[what]  # type: ignore[return-value]  # one function to each name

    @cached_property
    def _found(self) -> dict[str, object]:
        # Not in `known`, which is shared with skeletons of other tasks.
        return {}

    def task(self, name: str) -> Task:
        """Return a task by name."""
        return self.by_name[name]

    def kind(self, task: Task) -> Kind:
        """Return the kind of the unit that does a task."""
        return self.kinds[task.unit]

    def reads(self, task: Task) -> tuple[str, ...]:
        """Return the roots that a task takes from others, in order of first use."""
        if task.name not in self._reads:
            self._reads[task.name] = self._find_reads(task)
        return self._reads[task.name]

    @cached_property
    def _reads(self) -> dict[str, tuple[str, ...]]:
        return {}

    def _find_reads(self, task: Task) -> tuple[str, ...]:
        if task.name in self.sketch.carries:
            carry = self.sketch.carries[task.name]
            roots = [r for v in (carry.first, carry.block) if v for r in self.views[v].roots]
        elif task.name.startswith("sink."):
            roots = list(self.views[self.sketch.outputs[task.name.removeprefix("sink.")]].roots)
        else:
            roots = [
                root for name in task.nodes for operand in self.sketch.node(name).inputs
                if operand not in self.sketch.stored for root in self.views[operand].roots
            ]  # fmt: skip
        return tuple(r for r in dict.fromkeys(roots) if self.maker[r] != task.name)

    def in_prompt(self, task: Task) -> bool:
        """Tell whether a task is done for a token of a prompt: not what only the logits need."""
        if task.part != "block":
            return task.part == "before"
        return bool(_LAYER.match(task.name)) or task.name in self.feeds_layers

    @cached_property
    def feeds_layers(self) -> frozenset[str]:
        """Return the tasks on the way to a layer, where the layers are not folded into one."""
        found: set[str] = set()
        todo = [t for t in self.tasks if _LAYER.match(t.name) or self.kind(t) in REMEMBERS]
        while todo:
            task = todo.pop()
            if task.name not in found:
                found.add(task.name)
                todo += [self.task(self.maker[root]) for root in self.reads(task)]
        return frozenset(found)

    def takers(self, root: str) -> list[Task]:
        """Return the tasks that take a root from its maker, in static order."""
        return [t for t in self.tasks if root in self.reads(t)]


def short_name(name: str) -> str:
    """Drop the layer from a name.

    >>> short_name("layers.*.conv.out"), short_name("layers.3.z"), short_name("logits")
    ('conv.out', 'z', 'logits')
    """
    return _LAYER.sub("", name)


def layer_of(name: str) -> str:
    """Return the layer that a name belongs to; empty where it stands outside the layers.

    >>> layer_of("layers.3.in_proj.acc"), layer_of("embed.row")
    ('layers.3.', '')
    """
    found = _LAYER.match(name)
    return found[0] if found else ""


def starred(name: str) -> str:
    """Return a name that stands for the same in all layers.

    >>> starred("layers.3.z"), starred("logits")
    ('layers.*.z', 'logits')
    """
    return _LAYER.sub(STAR, name)


def skeleton(
    sketch: Sketch,
    chains: dict[str, tuple[str, ...]] | None = None,
    fused: bool = True,
    matrix: Sharing = "shared",
) -> Skeleton:
    """Return the tasks of a sketch in static order; raise UserError where no unit fits.

    `chains` notes what each unit of its own does: a chain of the same operators, in another layer
    or another sketch, goes through the same unit. `fused`, `matrix`: see `Choices`.
    """
    chains = {} if chains is None else chains
    grouping = Grouping(sketch, fused)
    grouping.merge_all()
    tasks: list[Task] = []
    maker: dict[str, str] = {}
    kinds: dict[str, Kind] = {}
    first: Part = "before" if sketch.layers > 1 else "block"
    last: Part = "after" if sketch.layers > 1 else "block"
    for name in sketch.inputs:
        size = sketch.types[name].size
        tasks.append(Task(f"source.{name}", f"source.{name}", first, (), size, ((0, size),)))
        kinds[f"source.{name}"] = "source"
        maker[name] = f"source.{name}"
    for name in sketch.carries:
        size, unit = sketch.types[name].size, f"switch.{name.removeprefix('carry.')}"
        tasks.append(Task(name, unit, "block", (), size, ((0, size),)))
        kinds[unit] = "switch"
        maker[name] = name
    crowded = _crowded(grouping)
    for group in grouping.order():
        nodes = tuple(n.name for n in group.nodes)
        kind: Kind = group.kind  # type: ignore[assignment]  # wires have no group
        unit = str(kind)
        alone = kind == "matrix" and matrix == "separate"
        # What only reads what a state's loop made has a unit of its own, where that is not fused.
        alone = alone or (kind == "state" and not fused and not _has_state(sketch, nodes))
        if kind not in SHARED or alone or (kind, group.part) in crowded:
            own = f"{kind}.{short_name(nodes[-1])}"
            unit = _same_chain(own, tuple(n.op.name for n in group.nodes), chains)
        tasks.append(Task(nodes[-1], unit, group.part, nodes, group.span, ((0, group.span),)))
        kinds[unit] = kind
        maker.update(dict.fromkeys(nodes, nodes[-1]))
    for name, value in sketch.outputs.items():
        size = prod(sketch.types[value].shape)
        tasks.append(Task(f"sink.{name}", f"sink.{name}", last, (), size, ((0, size),)))
        kinds[f"sink.{name}"] = "sink"
    made = Skeleton(sketch, tuple(tasks), maker, kinds, grouping.views)
    _check_states(made)
    return replace(made, tasks=tuple(sorted(tasks, key=_part)))


def _crowded(grouping: Grouping) -> set[tuple[str, Part]]:
    """Return the kinds whose wires do one task, but that have several in a part: layers of neurons.

    Each of these has a unit of its own, as each chain of a vector unit has.
    """
    leaking = any(n.op.name == "leak" for g in grouping.groups.values() for n in g.nodes)
    count = Counter((g.kind, g.part) for g in grouping.groups.values() if leaking)
    return {key for key, times in count.items() if key[0] in ("fir", "state") and times > 1}


def _has_state(sketch: Sketch, nodes: Iterable[str]) -> bool:
    return any(n in sketch.states for name in nodes for n in sketch.node(name).inputs)


def _same_chain(name: str, chain: tuple[str, ...], chains: dict[str, tuple[str, ...]]) -> str:
    """Return the unit of this name if it does this chain, else the next free one like it."""
    number = 1
    unit = name
    while chains.setdefault(unit, chain) != chain:
        number += 1
        unit = f"{name}#{number}"
    return unit


def _part(task: Task) -> int:
    return ("before", "block", "after").index(task.part)


def _check_states(made: Skeleton) -> None:
    """Raise UserError where a state is read by one unit and written by another."""
    for state, value in made.sketch.states.items():
        if value in made.sketch.by_name and isinstance(made.sketch.node(value).op, Count):
            continue
        writer = made.maker.get(made.views[value].roots[0])
        for node in made.sketch.nodes:
            if state in node.inputs and made.maker[node.name] != writer:
                raise UserError(
                    f"state {state!r} is read by {node.name!r} and written by {value!r}, which no "
                    "one unit does together; keep both in one element-by-element chain"
                )
