"""Compute the start and finish of every firing of a network: exact, with back-pressure.

The recurrences of `hw_models/network.py` are evaluated actor by actor. When the whole state (who
stands where, what is in which FIFO, all times relative to now) has been seen before, the rest
repeats shifted by a constant, and whole turns of the body, or whole rounds, are skipped: max-plus
recurrences commute with a shift of time, so that the shortcut is exact.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from cosim.ir.errors import InternalError, UserError
from hw_models import recurrence
from hw_models.network import Network
from hw_models.recurrence import AT_ANCHOR, DONE, State, Tables
from hw_models.shortcut import Shortcut
from hw_models.tables import Slot, flatten, fresh_state

# Of fewer turns, none is left to skip when one has come back.
FEWEST_TURNS = 3


@dataclass(frozen=True)
class Span:
    """Give the first start and the last end of one task in one turn of its section."""

    actor: str
    task: str
    section: int
    loop: int
    start_cycle: int
    end_cycle: int


@dataclass(frozen=True)
class Timing:
    """Hold the times of a solved network; axes: round, then actor or FIFO in network order."""

    network: Network
    finish_cycles: np.ndarray
    busy_cycles: np.ndarray
    starved_cycles: np.ndarray
    blocked_cycles: np.ndarray
    begin_cycles: np.ndarray
    end_cycles: np.ndarray
    slots: tuple[Slot, ...]

    def finish(self, actor: str) -> np.ndarray:
        """Return the cycle at which an actor is free after each round."""
        return self.finish_cycles[:, self._actor(actor)]

    def busy(self, actor: str, turn: int | None = -1) -> int:
        """Return the cycles for which an actor's firings hold it in a round; None: in all."""
        return _count(self.busy_cycles[:, self._actor(actor)], turn)

    def starved(self, fifo: str, turn: int | None = -1) -> int:
        """Return the cycles that the taker has waited for a beat of a FIFO in a round, or all."""
        return _count(self.starved_cycles[:, self._fifo(fifo)], turn)

    def blocked(self, fifo: str, turn: int | None = -1) -> int:
        """Return the cycles that the maker has waited for a place in a FIFO in a round, or all."""
        return _count(self.blocked_cycles[:, self._fifo(fifo)], turn)

    def spans(self, turn: int = 0, actors: Collection[str] | None = None) -> list[Span]:
        """Return every task of a round with its times, actor by actor in program order.

        `actors`: of these alone.
        """
        found = []
        for slot in self.slots:
            if actors is not None and slot.actor not in actors:
                continue
            for loop in range(slot.turns):
                at = slot.first + loop * slot.stride
                begin, end = int(self.begin_cycles[turn, at]), int(self.end_cycles[turn, at])
                found.append(Span(slot.actor, slot.task, slot.section, loop, begin, end))
        return found

    def _actor(self, name: str) -> int:
        return [a.name for a in self.network.actors].index(name)

    def _fifo(self, name: str) -> int:
        return list(self.network.channels).index(name)


def _count(counts: np.ndarray, turn: int | None) -> int:
    return int(counts.sum() if turn is None else counts[turn])


def solve(network: Network, rounds: int = 1, shortcut: bool = True) -> Timing:
    """Run a network for some rounds; raise UserError where it deadlocks.

    `shortcut` False evaluates every firing; the times are the same.
    """
    if rounds < 1:
        raise InternalError(f"a network runs for at least one round, not {rounds}")
    tab, slots = flatten(network)
    st = fresh_state(network, tab, slots, rounds)
    recurrence.start(tab, st, rounds)
    # The actor with most turns tells when to look; the busiest one, where they have as many.
    anchor = max(
        range(len(network.actors)),
        key=lambda a: (network.actors[a].loops > 0, network.actors[a].body.firings),
    )
    watch = None
    if shortcut and max(rounds, network.actors[anchor].loops) >= FEWEST_TURNS:
        watch = Shortcut(network, tab, st, slots, rounds, anchor)
    while True:
        event = recurrence.advance(tab, st, rounds, anchor if watch else -1)
        if event == DONE:
            break
        if event != AT_ANCHOR or watch is None:
            raise UserError(_deadlock(network, tab, st, rounds))
        watch.at_anchor()
    return Timing(
        network, st.finish, st.busy, st.starved, st.blocked, st.begin, st.end, tuple(slots)
    )


def _deadlock(network: Network, tab: Tables, st: State, rounds: int) -> str:
    """Tell which actors wait for one another in a ring, and over which FIFOs."""
    names = [a.name for a in network.actors]
    fifos = list(network.channels)
    waits: dict[int, tuple[int, str]] = {}
    for a in range(len(names)):
        if st.turn[a] >= rounds:
            continue
        k = tab.run_kind[st.run[a]]
        for f in tab.pops[tab.pop_at[k] : tab.pop_at[k + 1]]:
            if st.held[f] == 0:
                other = names.index(network.ends(fifos[f])[0])
                waits[a] = other, f"{names[a]} waits for a beat of {fifos[f]} (empty)"
        for f in tab.pushes[tab.push_at[k] : tab.push_at[k + 1]]:
            if st.held[f] == tab.depth[f]:
                other = names.index(network.ends(fifos[f])[1])
                full = f"full, {tab.depth[f]} beats"
                waits[a] = other, f"{names[a]} waits for a place in {fifos[f]} ({full})"
    path = [next(iter(waits))]
    while path[-1] in waits and waits[path[-1]][0] not in path:
        path.append(waits[path[-1]][0])
    end = waits[path[-1]][0] if path[-1] in waits else path[0]
    ring = path[path.index(end) :]
    told = [waits[a][1] for a in ring if a in waits]
    deeper = any("full" in t for t in told)
    advice = "make the full FIFO deeper" if deeper else "put a beat into one FIFO at the start"
    return f"the design deadlocks: {', '.join(told)}; {advice}"
