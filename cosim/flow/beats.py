"""Predict the cycle in which each beat of each output moves, token by token, by the cycle model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cosim.design import Design, graph_kinds
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.build import NO_PATTERNS, build_network
from hw_models.dataflow import solve
from hw_models.network import Actor, Pattern, Program


def predicted_beats(
    model: Model,
    machine: Machine,
    design: Design,
    tokens: int,
    patterns: Mapping[str, Pattern] = NO_PATTERNS,
) -> dict[str, np.ndarray]:
    """Return the cycles [tokens, beats] at which each sink takes its beats, by the sink's output.

    Each token starts when the last one is out. Raise UserError where the design deadlocks.
    """
    c = design.choices
    (kind,) = graph_kinds(model, c.order, c.fused, c.matrix)
    (layout,) = design.layouts
    network = build_network(
        kind.skeleton, layout, design, machine, tokens, feedback=True, patterns=patterns
    )
    actors = tuple(told(a) if a.name.startswith("sink.") else a for a in network.actors)
    folded = layout.layers > 1
    timing = solve(replace(network, actors=actors), tokens if folded else 1)
    found = {}
    for actor in actors:
        if actor.name.startswith("sink."):
            pops = {k.task for p in actor.sections for k in p.kinds if k.pops}
            starts = [
                span.start_cycle
                for turn in range(tokens if folded else 1)
                for span in timing.spans(turn)
                if span.actor == actor.name and span.task in pops
            ]
            cycles = np.sort(np.array(starts, np.int64)).reshape(tokens, -1)
            found[actor.name.removeprefix("sink.")] = cycles
    return found


def told(actor: Actor) -> Actor:
    """Make every firing of an actor a task of its own, so that its start is told."""
    before, body, after = (_one_by_one(p) for p in actor.sections)
    return replace(actor, before=before, body=body, after=after)


def _one_by_one(program: Program) -> Program:
    firings = np.repeat(program.index, program.times).tolist()
    kinds = tuple(replace(program.kinds[i], task=f"{n}") for n, i in enumerate(firings))
    count = len(kinds)
    return Program(kinds, np.arange(count, dtype=np.int64), np.ones(count, np.int64))
