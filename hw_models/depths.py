"""Find the smallest FIFOs of a design: no deadlock, and no slower than a stated slack allows.

A network of blocking FIFOs deadlocks, or does not, whatever its times are: firings hang on counts
of beats and places alone. And a round leaves every FIFO as full as it found it. So one solved round
proves that no other round, nor any pattern of gaps and stalls, will ever deadlock.

More places never make a firing later (the recurrences are monotone), so that halving the interval
finds the smallest depth; and what was found stays smallest while the others shrink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cosim.design import Choices, Design
from cosim.design.account import drawn_depths
from cosim.design.plan import STATE_FIFOS
from cosim.design.resources import memory_blocks
from cosim.design.shapes import state_bits, state_tasks
from cosim.ir.errors import UserError
from hw_models.evaluate import Evaluator
from hw_models.pace import pace_of

NO_DEADLOCK = "a whole round was solved, which proves that no other deadlocks"


def unsized_text(design: Design) -> str:
    """Say what is known of the depths of a design whose FIFOs were not sized."""
    chosen = design.choices
    rule = "whole" if chosen.fifos == "whole" else "whole where their taker waits"
    return (
        f"FIFO depths: by rule, {rule}, else {chosen.shallow_beats} beats, not the smallest "
        f"(a slack asks for these); {NO_DEADLOCK}"
    )


@dataclass(frozen=True)
class Depths:
    """Hold the smallest depths by FIFO, and what they cost in time.

    `limit_cycles` is what the slack allows of a token; the memory's own FIFO of weights is
    `Lanes.prefetch` in the choices.
    """

    choices: Choices
    cycles_before: float
    cycles_after: float
    limit_cycles: float
    solved: int
    slack: float
    fifos: int

    def text(self) -> str:
        """Say what is proved of the depths."""
        return (
            f"FIFO depths: the smallest for a slack of {100 * self.slack:g} % "
            f"({self.cycles_before:,.0f} cycles a token, now {self.cycles_after:,.0f}): with one "
            f"place less, any of the {self.fifos} deeper than 1 would be slower than that or "
            f"deadlock ({self.solved} designs solved); {NO_DEADLOCK}"
        )


def smallest_depths(evaluator: Evaluator, choices: Choices, slack: float = 0.0) -> Depths:
    """Shrink every FIFO, the costliest in memory blocks first, as far as the slack allows.

    `slack` 0.01 lets a token take 1 % more cycles, and its latency too. Raise UserError where the
    design deadlocks as it is, or where the slack is negative.
    """
    if slack < 0:
        raise UserError(f"a slack of {slack:g} asks for a faster design; give 0 or more")
    design = evaluator.design(choices)
    start = _times(evaluator, design)
    if start is None:
        raise UserError(f"the design of {design.model} deadlocks as it is; give deeper FIFOs first")
    latency, second = start
    # Both grow as FIFOs shrink; their difference, the pace, need not, and is held by both.
    limit = latency * (1 + slack), latency + (second - latency) * (1 + slack)
    solved = 1

    def fits(trial: Choices) -> bool:
        nonlocal solved
        solved += 1
        times = _times(evaluator, evaluator.design(trial))
        return times is not None and all(t <= most for t, most in zip(times, limit, strict=True))

    found = design.choices
    for name, depth in _by_cost(evaluator, design):
        found = _shrunk(found, name, depth, fits)
    after = _times(evaluator, evaluator.design(found))
    assert after is not None
    deep = sum(d > 1 for d in depths_of(evaluator, evaluator.design(found)).values())
    return Depths(
        found, second - latency, after[1] - after[0], limit[1] - latency, solved, slack, deep
    )


def with_depth(choices: Choices, name: str, depth: int) -> Choices:
    """Return the choices with one FIFO of another depth; `weights` is what is fetched ahead."""
    if name == "weights":
        return replace(choices, lanes=replace(choices.lanes, prefetch=depth))
    return replace(choices, depths=tuple((dict(choices.depths) | {name: depth}).items()))


def depths_of(evaluator: Evaluator, design: Design) -> dict[str, int]:
    """Return the depth of every FIFO that `with_depth` can change."""
    # Of a FIFO that is spilt, the places at either end; those off chip hold whole values.
    found = {f.channel: f.places_on_chip for layout in design.layouts for f in layout.fifos}
    given = dict(design.choices.depths)
    for kind in evaluator.kinds(design.choices):
        drawn = drawn_depths(design, kind.skeleton)
        found |= {name: depth for name, (depth, _) in drawn.items()}
        for task, _ in state_tasks(kind.skeleton):
            if design.places["states"] == "memory":
                beats = -(-task.span // design.unit(task.unit).lanes)
                for name in STATE_FIFOS:
                    found[name] = given.get(name, max(beats, found.get(name, 0)))
    if design.places["weights"] == "memory":
        found["weights"] = design.ports.prefetch_beats
    return found


def _times(evaluator: Evaluator, design: Design) -> tuple[float, float] | None:
    """Return when the first token is out, and when the second; None where the design deadlocks."""
    kinds = evaluator.kinds(design.choices)
    try:
        pace = pace_of(evaluator.model, kinds, design, evaluator.machine)
    except UserError:
        return None
    return float(pace.latency_cycles), pace.latency_cycles + pace.cycles_per_token


def _by_cost(evaluator: Evaluator, design: Design) -> list[tuple[str, int]]:
    """Return every FIFO with its depth, by the share of the machine that it takes."""
    budget = design.budget
    widths = {f.channel: f.width_bits for layout in design.layouts for f in layout.fifos}
    for kind in evaluator.kinds(design.choices):
        drawn = drawn_depths(design, kind.skeleton)
        widths |= {name: width for name, (_, width) in drawn.items()}
        for task, _ in state_tasks(kind.skeleton):
            lanes = design.unit(task.unit).lanes
            bits = -(-state_bits(kind.skeleton, task) // -(-task.span // lanes))
            widths |= dict.fromkeys(STATE_FIFOS, bits)
    matrix = [u.lanes * u.columns for u in design.units if u.kind == "matrix"]
    widths["weights"] = 8 * max(matrix, default=1)
    depths = depths_of(evaluator, design)

    def share(name: str) -> float:
        blocks = memory_blocks(widths[name], depths[name], evaluator.machine)
        return max((n / max(budget[r], 1) for r, n in blocks.items()), default=0.0)

    return [(name, depths[name]) for name in sorted(depths, key=lambda n: (-share(n), n))]


def _shrunk(choices: Choices, name: str, depth: int, fits: Callable[[Choices], bool]) -> Choices:
    """Return the choices with the smallest depth of one FIFO that fits."""
    low, high = 1, depth
    while low < high:
        middle = (low + high) // 2
        if fits(with_depth(choices, name, middle)):
            high = middle
        else:
            low = middle + 1
    return with_depth(choices, name, high) if high < depth else choices
