"""Choose which points to try: all, some by chance, or led by the results so far.

A search asks for points batch by batch and is told what came of them. It depends on nothing but the
study and those results, so that a sweep that was killed asks for the same points again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from cosim.ir.errors import UserError
from cosim.sweep.space import Point, Space, at_random, grid, space_of
from cosim.sweep.study import Search as Choice
from cosim.sweep.study import Study

if TYPE_CHECKING:
    import optuna

CHUNK = 4096


class Search(Protocol):
    """Ask for points until none is left; `total` is how many there will be."""

    total: int

    def ask(self) -> list[Point]:
        """Return the next points; none: it is over."""

    def tell(self, costs: Sequence[Sequence[float]], violations: Sequence[float]) -> None:
        """Take what came of them: less is better; a violation above 0 is how far from possible."""


class Listed:
    """Ask for points of a list that is known from the start."""

    def __init__(self, points: Iterator[Point], total: int) -> None:
        """Take the points, and how many they are."""
        self.points, self.total = points, total

    def ask(self) -> list[Point]:
        """Return the next points."""
        return list(islice(self.points, CHUNK))

    def tell(self, costs: Sequence[Sequence[float]], violations: Sequence[float]) -> None:
        """Learn nothing."""


class Led:
    """Ask Optuna, which learns from what came of the points before.

    Within a batch nothing is told; what is drawn depends on the seed and the batches before alone.
    """

    def __init__(self, space: Space, choice: Choice, objectives: int) -> None:
        """Start anew; raise UserError where Optuna is not installed."""
        self.space, self.batch, self.total = space, choice.batch, choice.points or 0
        self.left = self.total
        self.study = _optuna_study(choice, objectives)
        self.trials: list[optuna.Trial] = []
        self.worst = [1.0] * objectives

    def ask(self) -> list[Point]:
        """Return the next batch; the same point may come again."""
        self.trials = [self.study.ask() for _ in range(min(self.batch, self.left))]
        self.left -= len(self.trials)
        return [self._point(trial) for trial in self.trials]

    def _point(self, trial: optuna.Trial) -> Point:
        digits = []
        for name, values in self.space.axes:
            places = range(len(values))
            ordered = all(type(v) is int for v in values)
            digits.append(
                trial.suggest_int(name, 0, len(values) - 1)
                if ordered
                else trial.suggest_categorical(name, places)
            )
        return self.space.pick(digits)

    def tell(self, costs: Sequence[Sequence[float]], violations: Sequence[float]) -> None:
        """Tell Optuna; an impossible point counts by how far it is from possible."""
        for row, violation in zip(costs, violations, strict=True):
            if violation <= 0:
                self.worst = [max(a, b) for a, b in zip(self.worst, row, strict=True)]
        for trial, row, violation in zip(self.trials, costs, violations, strict=True):
            trial.set_constraint("fits", violation)
            # What cannot be built has no figures, and Optuna takes no trial without.
            self.study.tell(trial, list(row) if violation <= 0 else self.worst)


def _optuna_study(choice: Choice, objectives: int) -> optuna.Study:
    try:
        import optuna
    except ImportError:
        raise UserError(
            f"search method {choice.method} needs Optuna; install it with "
            "`pip install 'cosim-toolkit[sweep]'`, or choose grid or random"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: optuna.samplers.BaseSampler
    if choice.method == "tpe":
        sampler = optuna.samplers.TPESampler(seed=choice.seed, n_startup_trials=choice.batch)
    else:  # a generation is a batch
        size = max(2, choice.batch)
        sampler = optuna.samplers.NSGAIISampler(seed=choice.seed, population_size=size)
    return optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)


def search_of(study: Study) -> Search:
    """Return the search that a study asks for; raise UserError where it cannot be had."""
    space, choice = space_of(study), study.search
    if choice.method == "grid":
        return Listed(grid(space), space.size)
    if choice.method == "random":
        points = min(choice.points or 0, space.size)
        return Listed(at_random(space, points, choice.seed), points)
    return Led(space, choice, len(study.objectives))
