"""Flatten a network into the arrays that the compiled recurrences read and write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw_models.network import Firing, Network, Program
from hw_models.recurrence import State, Tables


@dataclass(frozen=True)
class Slot:
    """Say where the times of a task are filed: at first + loop * stride, `count` loops."""

    actor: str
    task: str
    section: int
    first: int
    stride: int
    count: int


def flatten(network: Network) -> tuple[Tables, list[Slot]]:
    """Return the tables of a network, and where the times of its tasks are filed."""
    fifo_at = {name: i for i, name in enumerate(network.channels)}
    listed: list[Firing] = []
    columns: dict[str, list[np.ndarray]] = {
        c: [] for c in ("kind", "times", "task", "open", "close")
    }
    count = len(network.actors)
    first, last = np.zeros((count, 3), np.int64), np.zeros((count, 3), np.int64)
    slot_at, tasks = np.zeros((count, 3), np.int64), np.zeros((count, 3), np.int64)
    slots: list[Slot] = []
    programs: list[Program] = []
    runs = width = 0
    for a, actor in enumerate(network.actors):
        for s, program in enumerate(actor.sections):
            first[a, s] = last[a, s] = runs
            slot_at[a, s] = width
            if not program.kinds:
                continue
            turns = (1, actor.loops, 1)[s]
            task, opens, closes = program.tasks
            for name, column in (
                ("kind", program.index + len(listed)), ("times", program.times), ("task", task),
                ("open", opens), ("close", closes),
            ):  # fmt: skip
                columns[name].append(column)
            last[a, s] = runs = runs + task.size
            tasks[a, s] = stride = len(program.opened)
            for i, name in enumerate(program.opened):
                slots.append(Slot(actor.name, name, s, width + i, stride, turns))
            width += stride * turns
            listed += program.kinds
            programs.append(program)
    flat = {name: np.concatenate(c) if c else np.zeros(0) for name, c in columns.items()}
    depth = np.array([c.depth for c in network.channels.values()], np.int64)
    pops, pop_at = _ragged([[fifo_at[f] for f in k.pops] for k in listed])
    pushes, push_at = _ragged([[fifo_at[f] for f in k.pushes] for k in listed])
    actor_at = {a.name: i for i, a in enumerate(network.actors)}
    ends = np.array([[actor_at[e] for e in network.ends(f)] for f in fifo_at], np.int64).reshape(
        -1, 2
    )
    waits = [a.pattern.waits if a.pattern else np.zeros(0, np.int64) for a in network.actors]
    gate_at = np.cumsum([0, *(w.size for w in waits)]).astype(np.int64)
    none = np.zeros((3, 0), np.int64)
    latency, over, under = np.concatenate([none, *(p.times_of_kinds for p in programs)], axis=1)
    tables = Tables(
        run_kind=flat["kind"].astype(np.int64, copy=False),
        run_times=flat["times"].astype(np.int64, copy=False),
        run_task=flat["task"].astype(np.int64, copy=False),
        run_opens=flat["open"].astype(bool, copy=False),
        run_closes=flat["close"].astype(bool, copy=False),
        first=first, last=last,
        loops=np.array([a.loops for a in network.actors], np.int64),
        pops=pops, pop_at=pop_at, pushes=pushes, push_at=push_at,
        latency=latency, over=over, under=under,
        depth=depth,
        ring_at=np.concatenate([[0], np.cumsum(depth)])[:-1].astype(np.int64),
        maker=ends[:, 0], taker=ends[:, 1],
        gate_at=gate_at[:-1], gate_cycles=np.diff(gate_at),
        gate_wait=np.concatenate([np.zeros(0, np.int64), *waits]),
        slot_at=slot_at, tasks=tasks,
    )  # fmt: skip
    return tables, slots


def fresh_state(network: Network, tab: Tables, slots: list[Slot], rounds: int) -> State:
    """Return the state before the first firing: all free at cycle 0, initial beats there."""
    actors, fifos = len(network.actors), len(network.channels)
    width = sum(s.count for s in slots)
    held = np.array([c.initial for c in network.channels.values()], np.int64)

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int64)

    return State(
        section=zeros(actors), loop=zeros(actors), run=zeros(actors), left=zeros(actors),
        turn=zeros(actors), ready=zeros(actors), phase=zeros(actors),
        held=held, head=zeros(fifos), tail=held % np.maximum(tab.depth, 1),
        arrival=zeros(int(tab.depth.sum())), freed=zeros(int(tab.depth.sum())) - 1,
        busy=zeros(rounds, actors), starved=zeros(rounds, fifos), blocked=zeros(rounds, fifos),
        finish=zeros(rounds, actors), begin=zeros(rounds, width) - 1, end=zeros(rounds, width) - 1,
    )  # fmt: skip


def _ragged(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Join rows into one array and the places at which they begin."""
    flat = np.array([x for row in rows for x in row], np.int64)
    return flat, np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64)
