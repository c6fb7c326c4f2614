"""Time what joins the units: sources and sinks of a token, and switches between the layers.

A source pushes an input in beats, one a cycle; where the next token hangs on the last one, it first
waits for a word from every sink. A sink takes an output as it comes, and gives that word with its
last beat. A switch passes a carried value on to the block's units: before the layers from what
stands there, then from the layer before, and after the last layer to what follows.
A source whose sequence is off chip pops a beat of it for each of its own; such a sink pushes one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.design.plan import Unit
from cosim.design.rows import Emission, Flow, Rows, lay_rows
from hw_models.network import NOTHING, Program
from hw_models.steps import Draws, encode, taking


def source(flow: Flow, unit: Unit, waits_for: Sequence[str], draws: Draws | None = None) -> Program:
    """Return the firings of one token."""
    rows = lay_rows(-(-flow.task.span // unit.lanes), {}, flow.emissions(unit.lanes))
    first = np.zeros(rows.is_step.size, bool)
    first[0] = True
    waits = dict.fromkeys(waits_for, first)
    rows = taking(Rows(waits, rows.pushes, rows.is_step), draws)
    return encode(rows, 1, flow.task.name)


def sink(flow: Flow, unit: Unit, tells: Sequence[str], into: str = "") -> Program:
    """Return the firings of one token; `into`: the FIFO by which its sequence goes off chip."""
    rows = lay_rows(-(-flow.task.span // unit.lanes), flow.needs(unit.lanes), [])
    last = np.zeros(rows.is_step.size, bool)
    last[-1] = True
    pushes = dict.fromkeys(tells, last) | ({into: rows.is_step} if into else {})
    return encode(Rows(rows.pops, pushes, rows.is_step), 1, flow.task.name)


def switch(flow: Flow, unit: Unit) -> tuple[Program, Program, Program]:
    """Return the firings before the layers, between two layers, and after the last."""
    carry = flow.skeleton.sketch.carries[flow.task.name]
    views, parts = flow.skeleton.views, {t.name: t.part for t in flow.skeleton.tasks}
    first = {f.name for f in flow.into if carry.first and f.value in views[carry.first].roots}
    block = {f.name for f in flow.into if f.value in views[carry.block].roots}
    inside = {f.name for f in flow.out if parts[f.taker] == "block"}
    behind = {f.name for f in flow.out if parts[f.taker] == "after"}
    needs, emissions = flow.needs(unit.lanes), flow.emissions(unit.lanes)
    steps = -(-flow.task.span // unit.lanes)

    def passing(into: set[str], out: set[str]) -> Program:
        if not into:
            return NOTHING
        picked = [Emission(e.steps, {f: u for f, u in e.goes_to.items() if f in out})
                  for e in emissions]  # fmt: skip
        rows = lay_rows(
            steps, {f: n for f, n in needs.items() if f in into}, [e for e in picked if e.goes_to]
        )
        return encode(rows, 1, flow.task.name)

    return passing(first, inside), passing(block, inside), passing(block, behind)
