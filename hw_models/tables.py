"""Flatten a network into the arrays that the compiled recurrences read and write."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hw_models.network import Firing, Network, Program
from hw_models.recurrence import State, Tables


class Slot(NamedTuple):
    """Say where the times of a task are filed: at first + loop * stride, `turns` loops."""

    actor: str
    task: str
    section: int
    first: int
    stride: int
    turns: int


def flatten(network: Network) -> tuple[Tables, list[Slot]]:
    """Return the tables of a network, and where the times of its tasks are filed."""
    fifo_at = {name: i for i, name in enumerate(network.channels)}
    listed: list[Firing] = []
    columns: list[list[np.ndarray]] = [[], [], [], [], []]
    first: list[int] = []
    last: list[int] = []
    slot_at: list[int] = []
    tasks: list[int] = []
    slots: list[Slot] = []
    programs: list[Program] = []
    runs = width = 0
    for actor in network.actors:
        for s, program in enumerate(actor.sections):
            first.append(runs)
            slot_at.append(width)
            stride = 0
            if program.kinds:
                turns = actor.loops if s == 1 else 1
                task, opens, closes = program.tasks
                run = program.index + len(listed), program.times, task, opens, closes
                for column, part in zip(columns, run, strict=True):
                    column.append(part)
                runs += task.size
                stride = len(program.opened)
                slots += [
                    Slot(actor.name, name, s, width + i, stride, turns)
                    for i, name in enumerate(program.opened)
                ]
                width += stride * turns
                listed += program.kinds
                programs.append(program)
            last.append(runs)
            tasks.append(stride)
    run_kind, run_times, run_task, run_opens, run_closes = (
        np.concatenate(c) if c else np.zeros(0, dtype)
        for c, dtype in zip(columns, (np.int64,) * 3 + (np.bool_,) * 2, strict=True)
    )
    depth = np.array([c.depth for c in network.channels.values()], np.int64)
    pops, pop_at = _ragged([[fifo_at[f] for f in k.pops] for k in listed])
    pushes, push_at = _ragged([[fifo_at[f] for f in k.pushes] for k in listed])
    actor_at = {a.name: i for i, a in enumerate(network.actors)}
    ends = [network.ends(f) for f in fifo_at]
    waits = [a.pattern.waits if a.pattern else np.zeros(0, np.int64) for a in network.actors]
    gate_at = np.cumsum([0, *(w.size for w in waits)]).astype(np.int64)
    none = np.zeros((3, 0), np.int64)
    latency, over, under = np.concatenate([none, *(p.times_of_kinds for p in programs)], axis=1)
    tables = Tables(
        run_kind=run_kind, run_times=run_times, run_task=run_task,
        run_opens=run_opens, run_closes=run_closes,
        first=_by_section(first), last=_by_section(last),
        loops=np.array([a.loops for a in network.actors], np.int64),
        pops=pops, pop_at=pop_at, pushes=pushes, push_at=push_at,
        latency=latency, over=over, under=under,
        depth=depth,
        ring_at=np.concatenate([[0], np.cumsum(depth)])[:-1].astype(np.int64),
        maker=np.array([actor_at[maker] for maker, _ in ends], np.int64),
        taker=np.array([actor_at[taker] for _, taker in ends], np.int64),
        gate_at=gate_at[:-1], gate_cycles=np.diff(gate_at),
        gate_wait=np.concatenate([np.zeros(0, np.int64), *waits]),
        slot_at=_by_section(slot_at), tasks=_by_section(tasks),
    )  # fmt: skip
    return tables, slots


def fresh_state(network: Network, tab: Tables, slots: list[Slot], rounds: int) -> State:
    """Return the state before the first firing: all free at cycle 0, initial beats there."""
    actors, fifos = len(network.actors), len(network.channels)
    width = sum(s.turns for s in slots)
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


def _by_section(values: list[int]) -> np.ndarray:
    """Return one value for each section of each actor, [actors, 3]."""
    return np.array(values, np.int64).reshape(-1, 3)


def _ragged(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Join rows into one array and the places at which they begin."""
    flat = np.array([x for row in rows for x in row], np.int64)
    return flat, np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64)
