"""Name a network of timed dataflow actors joined by bounded FIFOs: the contract with the wires.

An actor is cyclo-static: it does a fixed list of firings in order. Firing n starts at the first
cycle S(n) at which

    S(n) >= S(n-1) + interval(n-1)       the unit is free again,
    S(n) >= S(maker) + latency(maker)    for each beat it pops, that beat has arrived,
    S(n) >= S(taker) + 1                 for each beat it pushes, the FIFO has a credit: the beat
                                         `depth` places earlier has been popped by then,
    S(n) is an allowed cycle             where the actor has a pattern (a source that has gaps, a
                                         sink that stalls).

A firing pops at most one beat of each FIFO, when it starts, and reserves at its start the place of
each beat it pushes, which can be popped `latency` cycles later. So a unit's pipeline never stalls
in the middle, a FIFO of depth d holds d beats those under way included, and there is no path of
wires from a FIFO's end to its front within one cycle. An interval may be a fraction: firing k of a
run then follows at the floor of k intervals, as a phase accumulator gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from cosim.ir.errors import InternalError, UserError

ONE = Fraction(1)


@dataclass(frozen=True)
class Firing:
    """Describe one kind of firing: the FIFOs it pops and pushes, by name, and its times."""

    pops: tuple[str, ...] = ()
    pushes: tuple[str, ...] = ()
    latency: int = 1
    interval: Fraction = ONE
    task: str = ""

    def __hash__(self) -> int:
        """Hash quickly: whole intervals are the rule, and hashes of fractions are slow."""
        over, under = self.interval.numerator, self.interval.denominator
        return hash((self.pops, self.pushes, self.latency, over, under, self.task))

    def __post_init__(self) -> None:
        """Check that time moves on."""
        # Comparing fractions is slow.
        if self.latency < 1 or self.interval.numerator < self.interval.denominator:
            raise InternalError(
                f"firing of {self.task!r}: latency {self.latency} and interval {self.interval} "
                "must be at least one cycle"
            )
        if len(set(self.pops)) != len(self.pops) or len(set(self.pushes)) != len(self.pushes):
            raise InternalError(f"firing of {self.task!r} moves two beats of one FIFO: {self}")


@dataclass(frozen=True)
class Program:
    """Hold a list of firings as runs: firing kind `kinds[index[r]]`, `times[r]` times over."""

    kinds: tuple[Firing, ...]
    index: np.ndarray
    times: np.ndarray

    @classmethod
    def of(cls, *runs: tuple[int, Firing]) -> Program:
        """Make a program from (times, firing) pairs, in order; runs of no firing are dropped."""
        kept = [(n, f) for n, f in runs if n > 0]
        kinds = tuple(dict.fromkeys(f for _, f in kept))
        at = {f: i for i, f in enumerate(kinds)}
        index = np.array([at[f] for _, f in kept], dtype=np.int64)
        return cls(kinds, index, np.array([n for n, _ in kept], dtype=np.int64))

    @classmethod
    def join(cls, parts: Iterable[Program]) -> Program:
        """Make one program of several, in order."""
        listed = [part for part in parts if part.kinds]
        if len(listed) < 2:
            return listed[0] if listed else NOTHING
        kinds: dict[Firing, int] = {}
        index, times = [], []
        for part in listed:
            new = np.array([kinds.setdefault(k, len(kinds)) for k in part.kinds], dtype=np.int64)
            index.append(new[part.index])
            times.append(part.times)
        return cls(tuple(kinds), np.concatenate(index), np.concatenate(times))

    @cached_property
    def firings(self) -> int:
        """Count the firings."""
        return int(self.times.sum())

    @property
    def busy_cycles(self) -> int:
        """Return the cycles for which the firings hold the unit."""
        over = np.array([k.interval.numerator for k in self.kinds] or [1], dtype=np.int64)
        under = np.array([k.interval.denominator for k in self.kinds] or [1], dtype=np.int64)
        return int((self.times * over[self.index] // under[self.index]).sum())

    def busy_of(self, task: str) -> int:
        """Return the cycles for which the firings of one task hold the unit."""
        own = np.array([k.task == task for k in self.kinds], dtype=bool)[self.index]
        return Program(self.kinds, self.index[own], self.times[own]).busy_cycles

    @cached_property
    def tasks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each run's task, numbered as they come, and whether it opens and closes it."""
        ids: dict[str, int] = {}
        number = [ids.setdefault(k.task, len(ids)) for k in self.kinds]
        of_run = np.array(number, np.int64)[self.index]
        opens = np.ones(of_run.size, bool)
        np.not_equal(of_run[1:], of_run[:-1], out=opens[1:])
        closes = np.ones(of_run.size, bool)
        closes[:-1] = opens[1:]
        return np.cumsum(opens) - 1, opens, closes

    @cached_property
    def opened(self) -> tuple[str, ...]:
        """Return the tasks that are opened, in order; a task may be opened again."""
        return tuple(self.kinds[i].task for i in self.index[self.tasks[1]].tolist())

    @cached_property
    def moves(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Count the beats popped from, and pushed to, each FIFO."""
        counts = np.bincount(self.index, self.times, len(self.kinds)).astype(np.int64).tolist()
        popped: dict[str, int] = {}
        pushed: dict[str, int] = {}
        for kind, count in zip(self.kinds, counts, strict=True):
            for moved, fifos in ((popped, kind.pops), (pushed, kind.pushes)):
                for f in fifos:
                    moved[f] = moved.get(f, 0) + count
        return popped, pushed

    @cached_property
    def times_of_kinds(self) -> np.ndarray:
        """Return latency and interval, as numerator and denominator, of each kind: [3, kinds]."""
        rows = [(k.latency, k.interval.numerator, k.interval.denominator) for k in self.kinds]
        return np.array(rows, np.int64).reshape(-1, 3).T

    def beats(self, fifo: str, pushed: bool) -> int:
        """Count the beats pushed to, or popped from, a FIFO."""
        return self.moves[int(pushed)].get(fifo, 0)


NOTHING = Program.of()


@dataclass(frozen=True)
class Pattern:
    """Say in which cycles an actor may fire: `allowed` from cycle 0 on, over and over again."""

    allowed: tuple[bool, ...]

    def __post_init__(self) -> None:
        """Check that some cycle is allowed."""
        if not any(self.allowed):
            raise UserError(
                f"pattern of {len(self.allowed)} cycles: it allows none of them; allow at least one"
            )

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Read a pattern from ones and zeros; raise UserError where it is not one.

        >>> Pattern.of("110").waits.tolist()
        [0, 0, 1]
        """
        if not text or set(text) - {"0", "1"}:
            raise UserError(f"pattern {text!r}: write a 1 or a 0 for each cycle, such as 1101")
        return cls(tuple(c == "1" for c in text))

    @cached_property
    def waits(self) -> np.ndarray:
        """Return for each cycle of the pattern how many cycles later the next allowed one is."""
        at = np.flatnonzero(self.allowed)
        cycles = np.arange(len(self.allowed))
        following = np.append(at, at[0] + len(self.allowed))[np.searchsorted(at, cycles)]
        return (following - cycles).astype(np.int64)


@dataclass(frozen=True)
class Actor:
    """Hold a unit's firings of one round: `before`, then `body` `loops` times, then `after`.

    With a `pattern` it fires only in the cycles that this allows.
    """

    name: str
    before: Program = NOTHING
    body: Program = NOTHING
    after: Program = NOTHING
    loops: int = 0
    pattern: Pattern | None = None

    @property
    def sections(self) -> tuple[Program, Program, Program]:
        """Return the three programs in order."""
        return self.before, self.body, self.after

    def beats(self, fifo: str, pushed: bool) -> int:
        """Count the beats of a round pushed to, or popped from, a FIFO."""
        b, m, a = (p.beats(fifo, pushed) for p in self.sections)
        return b + m * self.loops + a


@dataclass(frozen=True)
class Channel:
    """Describe a FIFO: how many beats it holds, and how many are in it at the start."""

    depth: int
    initial: int = 0


@dataclass(frozen=True)
class Network:
    """Hold actors and FIFOs; raise InternalError where a FIFO lacks an end or is out of balance."""

    actors: tuple[Actor, ...]
    channels: Mapping[str, Channel]

    def __post_init__(self) -> None:
        """Check that every FIFO has one end each way, and that a round pops what it pushes."""
        for name, (pushed, popped) in self._ends.items():
            channel = self.channels.get(name)
            if channel is None or not 0 <= channel.initial <= channel.depth or channel.depth < 1:
                raise InternalError(f"FIFO {name!r} cannot be built: {channel}")
            if len(pushed) != 1 or len(popped) != 1:
                raise InternalError(
                    f"FIFO {name!r} is pushed by {list(pushed)} and popped by {list(popped)}; "
                    "it needs one of each"
                )
            (into,), (out,) = pushed.values(), popped.values()
            if into != out:
                raise InternalError(
                    f"FIFO {name!r}: a round pushes {into} beats and pops {out}; balance them"
                )

    @cached_property
    def _ends(self) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
        """Count the beats of a round by FIFO, pushed and popped, and by actor."""
        ends: dict[str, tuple[dict[str, int], dict[str, int]]] = {
            f: ({}, {}) for f in self.channels
        }
        for actor in self.actors:
            name = actor.name
            for program, times in ((actor.before, 1), (actor.body, actor.loops), (actor.after, 1)):
                if not program.kinds:
                    continue
                popped, pushed = program.moves
                for way, moved in ((0, pushed), (1, popped)):
                    for f, count in moved.items():
                        if f not in ends:
                            ends[f] = {}, {}
                        there = ends[f][way]
                        there[name] = there.get(name, 0) + count * times
        return ends

    def ends(self, fifo: str) -> tuple[str, str]:
        """Return the actor that pushes to a FIFO and the one that pops from it."""
        makers, takers = self._ends[fifo]
        return next(iter(makers)), next(iter(takers))
