"""Run a study: choose points, take what the store has, work out the rest, keep each at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cosim.flow.progress import Progress
from cosim.ir.errors import UserError
from cosim.sweep.evaluate import Bench, Result, Task
from cosim.sweep.executor import Executor, Lost
from cosim.sweep.inputs import Inputs
from cosim.sweep.metrics import METRICS
from cosim.sweep.pareto import front, ties
from cosim.sweep.search import search_of
from cosim.sweep.space import Point
from cosim.sweep.store import Store
from cosim.sweep.study import Study

MakeExecutor = Callable[[Bench], Executor[Task, Result]]


@dataclass(frozen=True)
class Tried:
    """Hold one point and what came of it; `reason` says why it is out, `front` if none beats it."""

    point: Point
    result: Result
    reason: str
    front: bool = False


@dataclass(frozen=True)
class Sweep:
    """Hold a finished study: its points in the order in which they were chosen, each once."""

    study: Study
    version: str
    tried: tuple[Tried, ...]
    ties: int

    @property
    def possible(self) -> tuple[Tried, ...]:
        """Return the points that fit their machine and the budget."""
        return tuple(t for t in self.tried if not t.reason)


def run_study(
    study: Study, inputs: Inputs, store: Store, make: MakeExecutor, progress: Progress
) -> Sweep:
    """Try the points of a study; raise UserError where a point kills its workers."""
    search = search_of(study)
    run = _Run(study, inputs, store, progress, search.total)
    task, started = f"sweep {study.name}", time.perf_counter()
    progress.begin(task)
    with make(inputs.bench(study)) as executor:
        while points := search.ask():
            run.work_out(points, executor)
            results = [run.done[point] for point in points]
            search.tell([_costs(study, r) for r in results], [_over(study, r)[0] for r in results])
    store.settle()
    seconds = time.perf_counter() - started
    kept = len(run.done) - run.fresh
    progress.end(task, f"{len(run.done):,} points, {kept:,} of them reused, {seconds:.1f} s")
    return _judged(study, store.version.text(), run.done)


@dataclass
class _Run:
    """Hold what has come so far, each point once, in the order in which they were chosen."""

    study: Study
    inputs: Inputs
    store: Store
    progress: Progress
    total: int
    done: dict[Point, Result] = field(default_factory=dict)
    chosen: int = 0
    fresh: int = 0

    def work_out(self, points: list[Point], executor: Executor[Task, Result]) -> None:
        """Put the results of points into `done`, from the store where it has them."""
        missing: list[tuple[Point, str, dict[str, object]]] = []
        for point in dict.fromkeys(points):
            if point in self.done:
                continue
            facts = self.inputs.of(point, self.study)
            key = self.store.key(facts)
            kept = self.store.get(key)
            if kept is None:
                missing.append((point, key, facts))
            # A point that is missing holds its place in the order.
            self.done[point] = kept or Result({})
        lost: list[str] = []
        at = self.chosen + len(points) - len(missing)
        self.progress.advance(at, self.total)
        for place, answer in executor.submit([self.inputs.task(p) for p, _, _ in missing]):
            point, key, facts = missing[place]
            if isinstance(answer, Lost):
                lost.append(f"{point.text()} ({answer.reason})")
                continue
            self.store.put(key, facts, answer)
            self.done[point] = answer
            self.fresh += 1
            at += 1
            self.progress.advance(at, self.total)
        self.chosen += len(points)
        if lost:
            more = f", and of {len(lost) - 1} more" if len(lost) > 1 else ""
            raise UserError(
                f"two workers died of the point {lost[0]}{more}; all else is kept in "
                f"{self.store.folder}: give it more memory or leave the point out, and the same "
                "command goes on there"
            )


def _costs(study: Study, result: Result) -> list[float]:
    """Return the objectives so that less is better; zeros for a point that has none."""
    return [METRICS[name].sign * result.figures.get(name, 0.0) for name in study.objectives]


def _over(study: Study, result: Result) -> tuple[float, str]:
    """Return how far a point is from possible, and why; (0, "") where it is."""
    if result.reason:
        return result.excess, result.reason
    worst, why = 0.0, ""
    for name, most in study.budget.items():
        share = result.figures[name] / most - 1
        if share > worst:
            worst = share
            why = f"over the budget: {name} {result.figures[name]:,.6g} of {most:,.6g}"
    return worst, why


def _judged(study: Study, version: str, done: dict[Point, Result]) -> Sweep:
    tried = [Tried(point, result, _over(study, result)[1]) for point, result in done.items()]
    possible = [i for i, t in enumerate(tried) if not t.reason]
    costs = [_costs(study, tried[i].result) for i in possible]
    on = front(costs)
    for i, is_on in zip(possible, on, strict=True):
        tried[i] = Tried(tried[i].point, tried[i].result, "", is_on)
    return Sweep(study, version, tuple(tried), ties(costs, on))
