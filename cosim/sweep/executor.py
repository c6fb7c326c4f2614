"""Run many tasks on workers that may die: each task is answered, or named as lost.

An executor is `submit(tasks) -> iterator of (place, answer)`, in the order in which answers come.
A crew is what workers are made of (`cosim.sweep.processes`, `cosim.sweep.ray_workers`); which task
goes to whom, and what happens when one dies, is decided here alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Literal, Protocol, Self, TypeVar

from cosim.ir.errors import UserError

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
# So many workers may die in a row with no task answered between: then something else is wrong.
MOST_DEATHS = 8


@dataclass(frozen=True)
class Lost:
    """Say why a task has no answer: two workers died of it."""

    reason: str


@dataclass(frozen=True)
class Event(Generic[R]):
    """Be what a worker did: it is ready, has an answer, met a fault of ours, or died."""

    worker: int
    kind: Literal["ready", "answer", "fault", "death"]
    answer: R | None = None
    text: str = ""


class Crew(Protocol[T_contra, R]):
    """Be workers that take tasks one by one and answer in order.

    `held` tasks lie with a worker at once. More than one saves the way between two tasks, but asks
    that no answer is lost when its worker dies right after it: else the wrong task is blamed.
    """

    size: int
    held: int

    def start(self, worker: int) -> None:
        """Start a worker, or another one in the place of one that died."""

    def send(self, worker: int, task: T_contra) -> None:
        """Give a task to a worker; where it is dead, `wait` tells."""

    def wait(self) -> list[Event[R]]:
        """Wait for events of any worker."""

    def close(self) -> None:
        """Stop all workers at once."""


class Executor(ABC, Generic[T, R]):
    """Run many tasks; it is a context, and stops its workers at its end."""

    @abstractmethod
    def submit(self, tasks: Sequence[T]) -> Iterator[tuple[int, R | Lost]]:
        """Yield the place of each task with its answer, in the order in which they come."""

    def close(self) -> None:
        """Stop all workers, where there are any."""

    def __enter__(self) -> Self:
        """Use it as a context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stop all workers."""
        self.close()


class Serial(Executor[T, R]):
    """Run tasks here, one after another."""

    def __init__(self, work: Callable[[T], R]) -> None:
        """Take what is to be done with each task."""
        self.work = work

    def submit(self, tasks: Sequence[T]) -> Iterator[tuple[int, R | Lost]]:
        """Yield each task's place and answer."""
        for place, task in enumerate(tasks):
            yield place, self.work(task)


class Workers(Executor[T, R]):
    """Run tasks on a crew; `say` is told of deaths."""

    def __init__(self, crew: Crew[T, R], say: Callable[[str], None] = lambda _: None) -> None:
        """Take a crew, whose workers start when there is work."""
        self.crew, self.say = crew, say
        self.ready: dict[int, bool] = {}
        self.deaths = 0

    def close(self) -> None:
        """Stop all workers at once."""
        self.crew.close()

    def submit(self, tasks: Sequence[T]) -> Iterator[tuple[int, R | Lost]]:
        """Yield each task's place and answer.

        A task whose worker dies is given to another one, once. Raise UserError where workers do not
        start, and RuntimeError with the traceback where a task meets a fault of ours.
        """
        waiting = deque(range(len(tasks)))
        held: dict[int, deque[int]] = {w: deque() for w in range(self.crew.size)}
        killers: set[int] = set()
        left = len(tasks)
        while left:
            self._share(tasks, waiting, held)
            for event in self.crew.wait():
                own = held[event.worker]
                if event.kind == "ready":
                    self.ready[event.worker] = True
                elif event.kind == "fault":
                    raise RuntimeError(f"a worker met a fault:\n{event.text}")
                elif event.kind == "answer":
                    self.deaths = 0
                    left -= 1
                    assert event.answer is not None
                    yield own.popleft(), event.answer
                else:
                    lost = self._bury(event, own, waiting, killers)
                    if lost is not None:
                        left -= 1
                        yield lost, Lost(event.text)

    def _share(self, tasks: Sequence[T], waiting: deque[int], held: dict[int, deque[int]]) -> None:
        """Start workers while tasks wait, and give tasks to the ready, one each before a second."""
        for worker in range(min(self.crew.size, len(waiting))):
            if worker not in self.ready:
                self.ready[worker] = False
                self.crew.start(worker)
        for depth in range(1, self.crew.held + 1):
            for worker, own in held.items():
                if waiting and self.ready.get(worker) and len(own) < depth:
                    own.append(waiting.popleft())
                    self.crew.send(worker, tasks[own[-1]])

    def _bury(
        self, event: Event[R], own: deque[int], waiting: deque[int], killers: set[int]
    ) -> int | None:
        """Take tasks back from a dead worker; return the one that has now killed two."""
        if not self.ready.pop(event.worker):
            raise UserError(
                f"a worker does not start: {event.text}; try --workers 1, which needs none"
            )
        self.deaths += 1
        if self.deaths >= MOST_DEATHS:
            raise UserError(
                f"{self.deaths} workers died one after another, the last one: {event.text}; what "
                "is done is kept; look at the machine's memory, or try fewer --workers"
            )
        # Answers come in order: the worker was at the first task that it holds, if it holds one.
        culprit = own.popleft() if own else None
        waiting.extendleft(reversed(own))
        own.clear()
        if culprit is None:
            self.say(f"an idle worker died ({event.text})")
        elif culprit in killers:
            return culprit
        else:
            killers.add(culprit)
            waiting.append(culprit)
            self.say(f"a worker died ({event.text}); its point is tried once more")
        return None
