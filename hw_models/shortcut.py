"""Skip what repeats: when a state comes back shifted in time, so does all that follows.

Two levels: the turns of the body within a round (only actors and FIFOs at work in the body count;
the others stand still meanwhile), and the rounds (everything counts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw_models.network import Network
from hw_models.recurrence import State, Tables, sight
from hw_models.tables import Slot

UNSET = -1
# How many past states are kept, the longest period that is found; patterns make periods longer.
MEMORY, MEMORY_GATED = 8, 64


@dataclass(frozen=True)
class Sighting:
    """Hold a state as seen at one event: places, relative times, and the counters by then."""

    place: np.ndarray
    times: np.ndarray
    now: int
    index: int
    counters: tuple[np.ndarray, ...]


class Shortcut:
    """Watch the anchor's turns and skip when the state comes back."""

    def __init__(
        self, network: Network, tab: Tables, st: State, slots: list[Slot], rounds: int, anchor: int
    ) -> None:
        self.tab, self.st, self.rounds, self.anchor = tab, st, rounds, anchor
        self.of_actor = [[s for s in slots if s.actor == a.name] for a in network.actors]
        self.all_actors = np.arange(len(network.actors))
        self.all_fifos = np.arange(len(network.channels))
        at = {name: i for i, name in enumerate(network.channels)}
        self.body_actors = np.array(
            [i for i, a in enumerate(network.actors) if a.loops > 0 and a.body.firings], np.int64
        )
        moved = {at[f] for i in self.body_actors for k in network.actors[i].body.kinds
                 for f in (*k.pops, *k.pushes)}  # fmt: skip
        self.body_fifos = np.array(sorted(moved), np.int64)
        self.ends = list(zip(tab.maker.tolist(), tab.taker.tolist(), strict=True))
        inside = set(self.body_actors.tolist())
        # Were an end of a body's FIFO outside, it would have to move while the body repeats.
        self.closed = all(set(self.ends[f]) <= inside for f in self.body_fifos)
        self.seen_loops: list[Sighting] = []
        self.seen_rounds: list[Sighting] = []
        self.last_turn = 0

    def at_anchor(self) -> None:
        """Look at the state after a turn of the anchor, and skip ahead where it has come back."""
        turn = int(self.st.turn[self.anchor])
        if turn != self.last_turn:
            self.last_turn, self.seen_loops = turn, []
            if turn < self.rounds:
                self._look(self.all_actors, self.all_fifos, self.seen_rounds, turn)
            return
        alike = (self.st.section[self.body_actors] == 1) & (self.st.turn[self.body_actors] == turn)
        if not self.closed or not alike.all():
            return
        self._look(self.body_actors, self.body_fifos, self.seen_loops, None)

    def _look(
        self, actors: np.ndarray, fifos: np.ndarray, seen: list[Sighting], turn: int | None
    ) -> None:
        st = self.st
        index = int(st.loop[self.anchor]) if turn is None else turn
        sighting = self._sight(actors, fifos, index, in_body=turn is None)
        for old in reversed(seen):
            same = np.array_equal(old.place, sighting.place)
            if same and np.array_equal(old.times, sighting.times):
                seen.clear()
                self._skip(actors, fifos, old, sighting, in_body=turn is None)
                return
        seen.append(sighting)
        del seen[: -(MEMORY_GATED if self.tab.gate_cycles.any() else MEMORY)]

    def _sight(self, actors: np.ndarray, fifos: np.ndarray, index: int, in_body: bool) -> Sighting:
        st, tab = self.st, self.tab
        now = int(st.ready[self.anchor])
        place, times = sight(tab, st, actors, fifos, now, index, in_body)
        counters = tuple(c.copy() for c in (st.busy, st.starved, st.blocked))
        return Sighting(place, times, now, index, counters)

    def _skip(
        self, actors: np.ndarray, fifos: np.ndarray, old: Sighting, new: Sighting, in_body: bool
    ) -> None:
        st, tab = self.st, self.tab
        period, shift = new.index - old.index, new.now - old.now
        if in_body:
            room = int((tab.loops[actors] - 1 - st.loop[actors]).min())
        else:
            room = self.rounds - 1 - int(st.turn.max())
        times = room // period
        if times < 1:
            return
        if in_body:
            self._repeat_loops(actors, old, period, shift, times)
        else:
            self._repeat_rounds(old, period, shift, times)
            self.last_turn = int(st.turn[self.anchor])
        st.ready[actors] += shift * times
        for f in fifos:
            ring = slice(int(tab.ring_at[f]), int(tab.ring_at[f] + tab.depth[f]))
            st.arrival[ring] += shift * times
            st.freed[ring] += shift * times

    def _repeat_loops(
        self, actors: np.ndarray, old: Sighting, period: int, shift: int, times: int
    ) -> None:
        """Fill in what the skipped turns of the body would have filed, and move the actors on."""
        st = self.st
        turn = int(st.turn[self.anchor])
        for a in actors:
            for slot in self.of_actor[a]:
                if slot.section == 1:
                    loops = slice(slot.first, slot.first + slot.stride * slot.turns, slot.stride)
                    for filed in (st.begin[turn, loops], st.end[turn, loops]):
                        last = int(st.loop[a]) - int(filed[st.loop[a]] == UNSET)
                        _extend(filed, last, period, shift, times)
        for counter, was in zip((st.busy, st.starved, st.blocked), old.counters, strict=True):
            counter[turn] += (counter[turn] - was[turn]) * times
        st.loop[actors] += period * times

    def _repeat_rounds(self, old: Sighting, period: int, shift: int, times: int) -> None:
        """Fill in what the skipped rounds would have filed, and move the actors on."""
        st = self.st
        for a, slots in enumerate(self.of_actor):
            turn = int(st.turn[a])
            for slot in slots:
                for at in range(slot.first, slot.first + slot.stride * slot.turns, slot.stride):
                    for filed in (st.begin[:, at], st.end[:, at]):
                        last = turn - int(filed[turn] == UNSET)
                        _extend(filed, last, period, shift, times)
            _extend(st.finish[:, a], turn - 1, period, shift, times)
            _insert(st.busy[:, a], old.counters[0][:, a], turn, period, times)
        for f, (maker, taker) in enumerate(self.ends):
            for counts, was, end in (
                (st.starved[:, f], old.counters[1][:, f], taker),
                (st.blocked[:, f], old.counters[2][:, f], maker),
            ):
                _insert(counts, was, int(st.turn[end]), period, times)
        st.turn[:] += period * times


def _extend(filed: np.ndarray, last: int, period: int, shift: int, times: int) -> None:
    """Go on filing times after index `last` as the latest `period` of them did."""
    pattern = filed[last - period + 1 : last + 1]
    later = pattern + shift * np.arange(1, times + 1)[:, None]
    filed[last + 1 : last + 1 + times * period] = later.reshape(-1)


def _insert(counts: np.ndarray, was: np.ndarray, turn: int, period: int, times: int) -> None:
    """Repeat the counts of the latest `period` rounds, and move the open one behind them.

    The first of them had begun (`was`) before the state was seen that has come back now: its
    beginning is not part of what repeats, that of the open round is.
    """
    moved, begun = period * times, counts[turn]
    pattern = counts[turn - period : turn].copy()
    pattern[0] += begun - was[turn - period]
    counts[turn + moved] = begun
    counts[turn : turn + moved] = np.tile(pattern, times)
