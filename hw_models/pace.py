"""Find the pace of a model: the layouts of a design solved, and when tokens come out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cosim.design import Design, GraphKind, Layout
from cosim.ir.errors import InternalError
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.build import NO_PATTERNS, build_network
from hw_models.dataflow import Timing, solve
from hw_models.network import Pattern


@dataclass(frozen=True)
class Solved:
    """Hold one layout's timing over some tokens, and how many segments it stands for."""

    kind: GraphKind
    timing: Timing
    tokens: int

    def share(self, generates: bool) -> float:
        """Return what the last round counts for in a token.

        Of layers, it is the last token; of a block per token, all tokens together.
        """
        part = 1.0 if self.kind.skeleton.sketch.layers > 1 else 1.0 / self.tokens
        return part * (1 if generates else len(self.kind.segments))


def solve_kind(
    kind: GraphKind,
    layout: Layout,
    design: Design,
    machine: Machine,
    tokens: int,
    generates: bool,
    patterns: Mapping[str, Pattern],
) -> Solved:
    """Solve one layout over some tokens."""
    network = build_network(kind.skeleton, layout, design, machine, tokens, generates, patterns)
    return Solved(kind, solve(network, tokens if layout.layers > 1 else 1), tokens)


def ends_of(solved: Solved) -> np.ndarray:
    """Return the cycle at which each token's last output has gone out."""
    timing = solved.timing
    sinks = [a.name for a in timing.network.actors if a.name.startswith("sink.")]
    if not sinks:
        raise InternalError("a graph without outputs cannot be timed")
    if solved.kind.skeleton.sketch.layers > 1:
        return np.max([timing.finish(name) for name in sinks], axis=0)
    spans = [s for s in timing.spans() if s.actor in sinks]
    ends = np.zeros(solved.tokens, np.int64)
    for span in spans:
        ends[span.loop] = max(ends[span.loop], span.end_cycle)
    return ends


@dataclass(frozen=True)
class Pace:
    """Hold the layouts of a design solved over some tokens, and the pace of these.

    `latency_cycles` are those of the first token, or of the whole window.
    """

    solved: tuple[Solved, ...]
    generates: bool
    tokens: int
    latency_cycles: int
    cycles_per_token: float


def pace_of(
    model: Model,
    kinds: Sequence[GraphKind],
    design: Design,
    machine: Machine,
    tokens: int = 0,
    patterns: Mapping[str, Pattern] = NO_PATTERNS,
) -> Pace:
    """Solve the layouts of a design; 0 tokens: one generated token, or the design's window.

    The cycles per token are those of the last one; with patterns, the mean of all but the first.
    """
    generates = model.is_causal and len(model.segments) == 1
    wanted = tokens or (1 if generates else design.window)
    # A second token shows the pace at which tokens follow one another.
    rounds = max(wanted, 2) if generates else wanted
    solved = tuple(
        solve_kind(kind, layout, design, machine, rounds, generates, patterns)
        for kind, layout in zip(kinds, design.layouts, strict=True)
    )
    if generates:
        ends = ends_of(solved[0])
        counted = ends if patterns else ends[-2:]
        period = float(counted[-1] - counted[0]) / (counted.size - 1)
        return Pace(solved, generates, wanted, int(ends[0]), period)
    total = sum(int(ends_of(s)[-1]) * len(s.kind.segments) for s in solved)
    return Pace(solved, generates, wanted, total, total / wanted)
