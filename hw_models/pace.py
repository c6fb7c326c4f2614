"""Find the pace of a model: the layouts of a design solved, and when tokens come out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cosim.design import Design, GraphKind, Layout
from cosim.design.choices import DECODE
from cosim.ir.errors import InternalError, UserError
from cosim.ir.model import Model
from cosim.machine import Machine
from hw_models.build import NO_PATTERNS, build_network
from hw_models.dataflow import Timing, solve
from hw_models.network import Pattern
from hw_models.passes import Passes


@dataclass(frozen=True)
class Solved:
    """Hold one layout's timing over some tokens, and what its rounds count for.

    tokens
        The turns that were solved: tokens where they are generated one by one.
    passes
        The passes of a turn: one token, or many.
    share
        What the cycles of the last round count for in a token; where `sums`, those of all rounds.
    """

    kind: GraphKind
    timing: Timing
    tokens: int
    passes: int
    share: float
    sums: bool = False

    @property
    def turn(self) -> int | None:
        """Return the round that counts; None: all of them together."""
        return None if self.sums else -1


def generates(model: Model) -> bool:
    """Tell whether a model makes one token after another."""
    return model.is_causal and len(model.segments) == 1


def ends_of(solved: Solved) -> np.ndarray:
    """Return the cycle at which each turn's last output has gone out."""
    timing = solved.timing
    # What goes off chip is out when it is written.
    sinks = [a.name for a in timing.network.actors
             if a.name.startswith(("sink.", "sequence.write"))]  # fmt: skip
    if not sinks:
        raise InternalError("a graph without outputs cannot be timed")
    if solved.kind.skeleton.sketch.layers > 1:
        return np.max([timing.finish(name) for name in sinks], axis=0)
    spans = timing.spans(actors=sinks)
    ends = np.zeros(solved.tokens, np.int64)
    for span in spans:
        ends[span.loop] = max(ends[span.loop], span.end_cycle)
    return ends


@dataclass(frozen=True)
class Pace:
    """Hold the layouts of a design solved over some tokens, and the pace of these.

    `latency_cycles` are those of the first token of every sequence, of the whole window, or of all
    prompts; `cycles_per_token` those of one token of one sequence.
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
    Raise UserError where the design's workload is none of the model's.
    """
    if design.choices.workload != DECODE and not generates(model):
        raise UserError(
            f"model {model.name} generates no tokens, it runs over a window; leave out prefill, "
            "batch and context"
        )
    if design.choices.workload.is_prompt:
        return _of_prompt(kinds[0], design, machine, patterns)
    if generates(model):
        return _of_tokens(kinds[0], design, machine, tokens, patterns)
    wanted = tokens or design.window
    solved = tuple(
        _solved(kind, layout, design, machine, wanted, Passes(), patterns, feedback=False)
        for kind, layout in zip(kinds, design.layouts, strict=True)
    )
    total = sum(int(ends_of(s)[-1]) * len(s.kind.segments) for s in solved)
    return Pace(solved, False, wanted, total, total / wanted)


def _solved(
    kind: GraphKind,
    layout: Layout,
    design: Design,
    machine: Machine,
    turns: int,
    passes: Passes,
    patterns: Mapping[str, Pattern],
    feedback: bool,
    shared_by: int = 0,
) -> Solved:
    """Solve one layout over some turns; `shared_by` tokens share the sums of all rounds."""
    layered = layout.layers > 1
    network = build_network(
        kind.skeleton, layout, design, machine, turns, feedback, patterns, passes
    )
    timing = solve(network, turns if layered else 1)
    segments = 1 if feedback or passes.is_prompt else len(kind.segments)
    share = segments / (shared_by or passes.count * (1 if layered else turns))
    return Solved(kind, timing, turns, passes.count, share, sums=shared_by > 0)


def _of_tokens(
    kind: GraphKind,
    design: Design,
    machine: Machine,
    tokens: int,
    patterns: Mapping[str, Pattern],
) -> Pace:
    """Solve the generation of some tokens of every sequence."""
    wanted = tokens or 1
    passes = Passes(design.choices.turns.tiles)
    # A second token shows the pace at which tokens follow one another.
    found = _solved(
        kind, design.layouts[0], design, machine, max(wanted, 2), passes, patterns, feedback=True
    )
    ends = ends_of(found)
    counted = ends if patterns else ends[-2:]
    period = float(counted[-1] - counted[0]) / (counted.size - 1)
    return Pace((found,), True, wanted, int(ends[0]), period / passes.count)


def _of_prompt(
    kind: GraphKind,
    design: Design,
    machine: Machine,
    patterns: Mapping[str, Pattern],
) -> Pace:
    """Solve a prompt: whole turns one after another, then what is left over."""
    layout, turns, workload = design.layouts[0], design.choices.turns, design.choices.workload
    tokens = workload.tokens
    parts = [(turns.tiles, turns.times), *([(turns.rest, 1)] if turns.rest else [])]
    solved = tuple(
        _solved(
            kind, layout, design, machine, times, Passes(tiles, is_prompt=True), patterns,
            feedback=False, shared_by=tokens,
        )
        for tiles, times in parts
    )  # fmt: skip
    cycles = sum(int(s.timing.finish_cycles[-1].max()) for s in solved)
    return Pace(solved, True, tokens, cycles * workload.batch, cycles / tokens)
