"""Give the values that a unit alone is fed, and those that must come out of it.

They are what a run of the reference had there (`recorded`), or are drawn, ends of the bounds
included, and the graph's own nodes are then evaluated by their meaning (`drawn`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cosim.ir.errors import InternalError
from cosim.ir.numerics import saturate
from cosim.ir.types import TensorType
from cosim.ops import Count
from rtl.units.plan import UnitPlan

# The value of a node in the graph, by token, turn of the layers, and name.
Values = Callable[[int, int, str], np.ndarray]


def name_in(plan: UnitPlan, root: str, turn: int, part: str) -> str:
    """Return what a root of the sketch is called in the graph, in one turn."""
    folded = plan.folded
    carry = folded.skeleton.sketch.carries.get(root)
    if carry is None:
        names = folded.names(root)
        return names[turn if len(names) > 1 else 0]
    block = folded.names(carry.block)
    if part == "after":
        return block[-1]
    name = carry.first if turn == 0 else block[turn - 1]
    if name is None:
        raise InternalError(f"unit {plan.unit.name}: nothing is carried into the first {root}")
    return name


def recorded(plan: UnitPlan, values: Mapping[str, np.ndarray]) -> Values:
    """Return the values [tokens, ...] by `segment/node` of a run of the reference."""
    (segment,) = plan.folded.layout.segments
    return lambda token, _, name: values[f"{segment}/{name}"][token]


def drawn(plan: UnitPlan, rng: np.random.Generator, how: str = "mixed") -> Values:
    """Draw what comes in, and evaluate the nodes behind it; states go on from token to token."""
    folded = plan.folded
    graph = folded.graph
    into = {f.value for f in plan.into}
    parts = {j.task.part for j in plan.jobs}
    states = {n: np.broadcast_to(
        0 if s.init is None else graph.tensors[s.init], s.type.shape).astype(np.int64)
        for n, s in graph.states.items()}  # fmt: skip
    known: dict[tuple[int, int, str], np.ndarray] = {}
    done: set[tuple[int, int]] = set()

    def value(token: int, turn: int, name: str) -> np.ndarray:
        key = (token, turn, name)
        if key not in known:
            known[key] = find(token, turn, name)
        return known[key]

    def find(token: int, turn: int, name: str) -> np.ndarray:
        if name in graph.tensors:
            return graph.tensors[name]
        if name in graph.states:
            return states[name]
        if any(name == name_in(plan, root, turn, part) for root in into for part in parts):
            return draw(rng, graph.types[name], how)
        node = folded.nodes[name]
        raw = node.op.meaning(*(value(token, turn, n) for n in node.inputs))
        return saturate(raw, graph.types[name].dtype) if node.op.saturates else raw

    def step(token: int, turn: int) -> None:
        for job in plan.jobs:
            for node in job.task.nodes:
                value(token, turn, name_in(plan, node, turn, job.task.part))
        for name, s in graph.states.items():
            if (token, turn, s.next) in known:
                states[name] = known[token, turn, s.next]

    def count() -> None:
        """Let what counts tokens go on: no unit makes it, each that reads it counts."""
        for name, s in graph.states.items():
            node = folded.nodes.get(s.next)
            if node is not None and isinstance(node.op, Count):
                states[name] = node.op.meaning(states[name])

    def at(token: int, turn: int, name: str) -> np.ndarray:
        if (token, turn) not in done:
            done.add((token, turn))
            if token and turn == 0:
                count()
            step(token, turn)
        return value(token, turn, name)

    return at


def draw(
    rng: np.random.Generator,
    type_: TensorType,
    how: str = "mixed",
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Draw a value in the bounds of its type; `shape`: another one than the type's.

    `how`: random; lo, hi, zero: all alike; ends: each at either; near: around 0; small: every
    magnitude as likely; mixed: one of these.
    """
    if how == "mixed":
        how = str(rng.choice(["random", "ends", "near", "small", "random"]))
    size, lo, hi = type_.shape if shape is None else shape, type_.lo, type_.hi
    if how == "random":
        return rng.integers(lo, hi, size, endpoint=True)
    if how in {"lo", "hi", "zero"}:
        return np.full(size, {"lo": lo, "hi": hi, "zero": min(max(0, lo), hi)}[how], np.int64)
    if how == "ends":
        return rng.choice([lo, hi], size)
    if how == "near":
        return np.clip(rng.integers(-2, 2, size, endpoint=True), lo, hi)
    if how != "small":
        raise InternalError(f"values cannot be drawn {how!r}")
    # A width is drawn, then a value of it.
    width = rng.integers(0, max(abs(lo), hi).bit_length() + 1, size)
    found = rng.integers(0, 1 << 62, size) >> (62 - width)
    return np.clip(np.where(rng.random(size) < 0.5, -found, found), lo, hi)
