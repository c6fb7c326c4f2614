"""Keep a ring of rows over a window of tokens without a copy of it for every token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from cosim.ir.graph import Graph, Node
from cosim.kernels.plan import Recurrence, Step
from cosim.ops.cache_write import CacheWrite


@dataclass(frozen=True)
class Cache:
    """Hold a ring before the window [B, N, ...], the rows written in it, and their positions.

    `rows` [B, T, ...] and `positions` [B, T] are None where the ring is only read.
    """

    start: torch.Tensor
    rows: torch.Tensor | None = None
    positions: torch.Tensor | None = None

    def end(self) -> torch.Tensor:
        """Return the ring after the window."""
        if self.rows is None or self.positions is None:
            return self.start
        ring, places = self.start.clone(), self.start.shape[1]
        batch = torch.arange(ring.shape[0], device=ring.device)
        at, rows = self.positions, self.rows
        steps = torch.arange(at.shape[1], device=at.device)
        if bool((at == at[:, :1] + steps).all()):  # the last N positions are N places
            last = slice(max(at.shape[1] - places, 0), None)
            ring[batch[:, None], at[:, last].long() % places] = rows[:, last]
            return ring
        for t in range(at.shape[1]):
            ring[batch, at[:, t].long() % places] = rows[:, t]
        return ring


def rings_of(
    graph: Graph, steps: Sequence[Step], attends: Collection[str]
) -> tuple[dict[str, str], set[str]]:
    """Return the states that only attention reads, and the attentions whose rings all are such.

    Each state comes with the value that is read: what a `cache_write` makes of it, or itself where
    it is never written. `attends` are the attentions that read a ring as it is kept here.
    """
    writers = {n.name: n for n in graph.nodes if isinstance(n.op, CacheWrite)}
    rings: dict[str, str] = {}
    for step in steps:
        if not isinstance(step, Recurrence) or len(step.states) != 1 or step.read_out is not None:
            continue
        (name,) = step.states
        seen = graph.states[name].next
        names = [n.name for n in step.nodes]
        moving = seen in writers and not {*writers[seen].inputs} & {*graph.consts}
        if (names == [seen] and moving and writers[seen].inputs[0] == name) or (
            not names and seen == name
        ):
            rings[name] = seen
    found = set(attends)
    while True:
        shown = {*graph.outputs.values(), *(s.next for n, s in graph.states.items())}
        fits = {
            name: seen
            for name, seen in rings.items()
            if (seen == name or name not in shown) and seen not in graph.outputs.values()
            and sum(s.next == seen for s in graph.states.values()) == 1
            and all(_only_attended(n, name, seen, found) for n in graph.nodes if n.name != seen)
        }  # fmt: skip
        kept = {
            n.name for n in graph.nodes if n.name in found and {*n.inputs[1:3]} <= {*fits.values()}
        }
        if fits == rings and kept == found:
            return rings, found
        rings, found = fits, kept


def _only_attended(node: Node, name: str, seen: str, attends: Collection[str]) -> bool:
    """Tell whether a node reads a ring in no other way than attention reads keys and values."""
    if not {name, seen} & {*node.inputs}:
        return True
    elsewhere = {*node.inputs[:1], *node.inputs[3:]}
    return (
        node.name in attends
        and not {name, seen} & elsewhere
        and (name == seen or name not in node.inputs)
    )
