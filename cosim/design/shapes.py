"""Size the work of a design: linear layers, states, and the bits they stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cosim.design.plan import Task, Unit
from cosim.design.tasks import Skeleton
from cosim.ir.errors import InternalError
from cosim.ops import Linear


@dataclass(frozen=True)
class LinearShape:
    """Hold a linear task: W [rows, columns], its widths, and the bits of a row's multipliers."""

    task: str
    rows: int
    columns: int
    weight_bits: int
    act_bits: int
    scale_bits: int
    sum_bits: int

    @property
    def macs(self) -> int:
        """Count the multiply-accumulates of one turn."""
        return self.rows * self.columns

    @property
    def stored_bits(self) -> int:
        """Return the bits of weights and multipliers."""
        return self.rows * (self.columns * self.weight_bits + self.scale_bits)

    def groups(self, unit: Unit) -> int:
        """Return how many groups of rows the unit does one after another."""
        return -(-self.rows // unit.lanes)

    def weight_steps(self, unit: Unit) -> int:
        """Return the steps of one group that multiply: one beat of weights each."""
        return -(-self.columns // unit.columns)

    def scale_steps(self, unit: Unit, streamed: bool) -> int:
        """Return the steps of one group that only take multipliers out of the stream."""
        if not streamed:
            return 0
        return -(-self.scale_bits * unit.lanes // self.beat_bits(unit))

    def beat_bits(self, unit: Unit) -> int:
        """Return the bits of a beat of weights."""
        return unit.lanes * unit.columns * self.weight_bits

    def steps(self, unit: Unit, streamed: bool) -> int:
        """Return the steps of one turn."""
        return self.groups(unit) * (self.weight_steps(unit) + self.scale_steps(unit, streamed))


def linear_shape(skeleton: Skeleton, task: Task) -> LinearShape:
    """Return the shape of a linear task."""
    node = skeleton.sketch.node(task.nodes[0])
    if not isinstance(node.op, Linear):
        raise InternalError(f"task {task.name!r} is not linear")
    q, w, m = (skeleton.sketch.types[n] for n in node.inputs[:3])
    return LinearShape(
        task.name, w.shape[0], w.shape[1], w.dtype.bits, q.dtype.bits,
        m.dtype.bits * m.shape[1], skeleton.sketch.types[node.name].dtype.bits,
    )  # fmt: skip


def order_groups(shapes: Sequence[tuple[LinearShape, int]], unit: Unit, tiles: int) -> int:
    """Return the groups of rows for which a tile's results wait to be brought back into order.

    All `tiles` of a turn, so that no taker holds the unit up; two of every task that comes again,
    so that one is let out while the next comes in.
    """
    return max(s.groups(unit) * max(tiles, 2 if turns > 1 else 1) for s, turns in shapes)


def widest_group_beats(shapes: Sequence[tuple[LinearShape, int]], unit: Unit) -> int:
    """Return the most beats of weights, multipliers included, that one group of rows has."""
    return max(s.weight_steps(unit) + s.scale_steps(unit, streamed=True) for s, _ in shapes)


def linear_shapes(skeleton: Skeleton) -> list[tuple[LinearShape, int]]:
    """Return every linear task with its turns per token."""
    return skeleton.once("linear shapes", _linear_shapes)


def _linear_shapes(skeleton: Skeleton) -> list[tuple[LinearShape, int]]:
    return [
        (linear_shape(skeleton, t), skeleton.sketch.layers if t.part == "block" else 1)
        for t in skeleton.tasks
        if skeleton.kind(t) == "matrix"
    ]


def state_bits(skeleton: Skeleton, task: Task) -> int:
    """Return the bits of the decaying states that a state task reads, and writes, in one turn."""
    sketch = skeleton.sketch
    names = {n for node in task.nodes for n in sketch.node(node).inputs if n in sketch.states}
    return sum(sketch.types[n].size_bits for n in names)


def state_tasks(skeleton: Skeleton) -> list[tuple[Task, int]]:
    """Return every task that updates decaying states with its turns per token."""
    return skeleton.once("state tasks", _state_tasks)


def _state_tasks(skeleton: Skeleton) -> list[tuple[Task, int]]:
    return [
        (t, skeleton.sketch.layers if t.part == "block" else 1)
        for t in skeleton.tasks
        if skeleton.kind(t) == "state" and state_bits(skeleton, t)
    ]
