# ruff: noqa: ANN001, ANN201, ANN202, PLR0912, PLR0915
"""Advance the max-plus recurrences of a network, compiled by numba.

Numba compiles by the types of the arguments, and what it compiles fast is one long body: hence no
annotations on compiled functions here, and no rule on their length.

Names of the arrays (a actor, s section 0..2, r run, k kind, f FIFO, i round, t task):
    run_kind, run_times, run_task    [runs]; a run's task is numbered from 0 within its section
    run_opens, run_closes            whether a run is the first, or the last, of its task
    first, last [a, s]               runs of a section: first <= r < last
    pop_at, push_at [k + 1]          a kind's FIFOs in pops, pushes; latency, over, under: its times
    depth, ring_at, maker, taker [f] a FIFO's size, its place in the rings, its ends
    gate_at, gate_cycles [a]         its pattern in gate_wait: cycles until it may fire; 0: none
State (all updated in place):
    section, loop, run, left, turn   an actor's place; left counts firings to go, turn the round
    ready, phase [a]                 first cycle at which it is free; phase of a fractional interval
    held, head, tail [f]             beats in a FIFO, and its places of the next pop and push
    arrival, freed                   rings: when a beat can be popped, when its place was given up
    busy [i, a], starved [i, f], blocked [i, f], finish [i, a]
    begin, end [i, slots]            first start and last end of each task; slot_at [a, s], tasks
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

DONE, AT_ANCHOR, STUCK = 0, 1, 2


class Tables(NamedTuple):
    """Hold what does not change while a network runs."""

    run_kind: np.ndarray
    run_times: np.ndarray
    run_task: np.ndarray
    run_opens: np.ndarray
    run_closes: np.ndarray
    first: np.ndarray
    last: np.ndarray
    loops: np.ndarray
    pops: np.ndarray
    pop_at: np.ndarray
    pushes: np.ndarray
    push_at: np.ndarray
    latency: np.ndarray
    over: np.ndarray
    under: np.ndarray
    depth: np.ndarray
    ring_at: np.ndarray
    maker: np.ndarray
    taker: np.ndarray
    gate_at: np.ndarray
    gate_cycles: np.ndarray
    gate_wait: np.ndarray
    slot_at: np.ndarray
    tasks: np.ndarray


class State(NamedTuple):
    """Hold what changes."""

    section: np.ndarray
    loop: np.ndarray
    run: np.ndarray
    left: np.ndarray
    turn: np.ndarray
    ready: np.ndarray
    phase: np.ndarray
    held: np.ndarray
    head: np.ndarray
    tail: np.ndarray
    arrival: np.ndarray
    freed: np.ndarray
    busy: np.ndarray
    starved: np.ndarray
    blocked: np.ndarray
    finish: np.ndarray
    begin: np.ndarray
    end: np.ndarray


@njit(cache=True)
def _settle(tab, st, a, rounds):  # type: ignore[no-untyped-def]
    """Move an actor that finished a run to its next one; return whether there is one."""
    while True:
        s = st.section[a]
        if st.run[a] < tab.last[a, s] and (s != 1 or st.loop[a] < tab.loops[a]):
            st.left[a] = tab.run_times[st.run[a]]
            return True
        if s == 1 and tab.last[a, 1] > tab.first[a, 1] and st.loop[a] + 1 < tab.loops[a]:
            st.loop[a] += 1
            st.run[a] = tab.first[a, 1]
            continue
        if s < 2:
            st.section[a] = s + 1
            st.loop[a] = 0
            st.run[a] = tab.first[a, s + 1]
            continue
        st.finish[st.turn[a], a] = st.ready[a]
        st.turn[a] += 1
        st.section[a] = 0
        st.loop[a] = 0
        st.run[a] = tab.first[a, 0]
        if st.turn[a] >= rounds:
            return False


@njit(cache=True)
def start(tab, st, rounds):  # type: ignore[no-untyped-def]
    """Put every actor before its first firing."""
    for a in range(st.run.size):
        st.run[a] = tab.first[a, 0]
        _settle(tab, st, a, rounds)


@njit(cache=True)
def sight(tab, st, actors, fifos, now, index, in_body):  # type: ignore[no-untyped-def]
    """Return where some actors and FIFOs stand, and their times relative to `now`.

    What was there before its taker, or free before its maker, is free to look no longer matters;
    when it was is forgotten.
    """
    depths = tab.depth[fifos].sum()
    place = np.empty(7 * actors.size + fifos.size, np.int64)
    times = np.empty(actors.size + depths, np.int64)
    n = 0
    for i in range(actors.size):
        a = actors[i]
        cycles = tab.gate_cycles[a]
        place[n] = (st.loop[a] if in_body else st.turn[a]) - index
        place[n + 1] = st.run[a]
        place[n + 2] = st.left[a]
        place[n + 3] = st.phase[a]
        place[n + 4] = 1 if in_body else st.section[a]
        place[n + 5] = 0 if in_body else st.loop[a]
        place[n + 6] = now % cycles if cycles > 0 else 0
        n += 7
        times[i] = st.ready[a] - now
    m = actors.size
    for f in fifos:
        held, depth, ring = st.held[f], tab.depth[f], tab.ring_at[f]
        place[n] = held
        n += 1
        looks = st.ready[tab.taker[f]]
        at = st.head[f]
        for _ in range(held):
            times[m] = max(st.arrival[ring + at], looks) - now
            m += 1
            at = at + 1 if at + 1 < depth else 0
        looks = st.ready[tab.maker[f]]
        at = st.tail[f]
        for _ in range(depth - held):
            times[m] = max(st.freed[ring + at] + 1, looks) - now
            m += 1
            at = at + 1 if at + 1 < depth else 0
    return place, times


@njit(cache=True)
def advance(tab, st, rounds, anchor):  # type: ignore[no-untyped-def]
    """Let the actors go, each as far as it gets, until something is to be reported.

    Return AT_ANCHOR when the anchor has finished a turn of its body or a round and all others have
    come as far as they can without it (so that the state does not depend on who went first), DONE
    when all rounds are done, STUCK when no actor can move.

    Arrays are taken out of the tuples first: handing a tuple on costs more than many firings.
    """
    run_kind, run_times, run_task = tab.run_kind, tab.run_times, tab.run_task
    run_opens, run_closes, last = tab.run_opens, tab.run_closes, tab.last
    pops, pop_at, pushes, push_at = tab.pops, tab.pop_at, tab.pushes, tab.push_at
    latencies, overs, unders = tab.latency, tab.over, tab.under
    depth, ring_at, maker, taker = tab.depth, tab.ring_at, tab.maker, tab.taker
    gate_at, gate_cycles, gate_wait = tab.gate_at, tab.gate_cycles, tab.gate_wait
    held, head, tail, arrival, freed = st.held, st.head, st.tail, st.arrival, st.freed
    slot_at, tasks = tab.slot_at, tab.tasks
    runs, turns, sections, loops, lefts = st.run, st.turn, st.section, st.loop, st.left
    readies, phases = st.ready, st.phase
    all_busy, starved, blocked, begins, ends = st.busy, st.starved, st.blocked, st.begin, st.end
    awake = np.ones(runs.size, np.bool_)
    holds_anchor = False
    while True:
        moved = False
        for a in range(runs.size):
            if not awake[a] or (holds_anchor and a == anchor):
                continue
            awake[a] = False
            gate, cycles = gate_at[a], gate_cycles[a]
            row, s, loop, r, ready = turns[a], sections[a], loops[a], runs[a], readies[a]
            if row >= rounds:
                continue
            before, slot, stop = lefts[a], slot_at[a, s] + loop * tasks[a, s], last[a, s]
            # One run after another, until the actor is blocked.
            while True:
                k = run_kind[r]
                pop_from, pop_to = pop_at[k], pop_at[k + 1]
                push_from, push_to = push_at[k], push_at[k + 1]
                latency, over, under = latencies[k], overs[k], unders[k]
                left, busy, first = before, 0, -1
                is_new = before == run_times[r]
                phase = 0 if is_new else phases[a]
                small = cycles == 0 and pop_to - pop_from <= 1 and push_to - push_from <= 1
                plain = cycles == 0 and under == 1 and pop_to - pop_from + push_to - push_from <= 1
                while left > 0:
                    # As many firings as are sure to have their beats and places; 0: blocked.
                    count = left
                    for i in range(pop_from, pop_to):
                        count = min(count, held[pops[i]])
                    for i in range(push_from, push_to):
                        count = min(count, depth[pushes[i]] - held[pushes[i]])
                    if count == 0:
                        break
                    left -= count
                    if plain:
                        # One FIFO and whole intervals: no more than a maximum and a sum a firing.
                        began = ready
                        if pop_to > pop_from:
                            f = pops[pop_from]
                            at, end = ring_at[f] + head[f], ring_at[f] + depth[f]
                            if first < 0:
                                first = max(ready, arrival[at])
                            before_end = min(count, end - at)
                            for i in range(at, at + before_end):
                                t = max(ready, arrival[i])
                                freed[i] = t
                                ready = t + over
                            for i in range(ring_at[f], ring_at[f] + count - before_end):
                                t = max(ready, arrival[i])
                                freed[i] = t
                                ready = t + over
                            starved[row, f] += ready - began - count * over
                            at += count
                            head[f] = (at if at < end else at - depth[f]) - ring_at[f]
                            held[f] -= count
                        elif push_to > push_from:
                            f = pushes[push_from]
                            at, end = ring_at[f] + tail[f], ring_at[f] + depth[f]
                            if first < 0:
                                first = max(ready, freed[at] + 1)
                            before_end = min(count, end - at)
                            for i in range(at, at + before_end):
                                t = max(ready, freed[i] + 1)
                                arrival[i] = t + latency
                                ready = t + over
                            for i in range(ring_at[f], ring_at[f] + count - before_end):
                                t = max(ready, freed[i] + 1)
                                arrival[i] = t + latency
                                ready = t + over
                            blocked[row, f] += ready - began - count * over
                            at += count
                            tail[f] = (at if at < end else at - depth[f]) - ring_at[f]
                            held[f] += count
                        else:
                            if first < 0:
                                first = ready
                            ready += count * over
                        busy += count * over
                        continue
                    if small:
                        # The common cases with places in registers; the same rules as below.
                        p = pops[pop_from] if pop_to > pop_from else -1
                        q = pushes[push_from] if push_to > push_from else -1
                        p_at, p_end, q_at, q_end = 0, 0, 0, 0
                        start = ready
                        if p >= 0:
                            p_at, p_end = ring_at[p] + head[p], ring_at[p] + depth[p]
                            start = max(start, arrival[p_at])
                        if q >= 0:
                            q_at, q_end = ring_at[q] + tail[q], ring_at[q] + depth[q]
                            start = max(start, freed[q_at] + 1)
                        if first < 0:
                            first = start
                        began, gaps, holds = ready, 0, 0
                        for _ in range(count):
                            t = ready
                            if p >= 0:
                                t = max(t, arrival[p_at])
                            if q >= 0:
                                place = freed[q_at] + 1
                                if place > t:
                                    t = place
                                    holds += t - ready
                                arrival[q_at] = t + latency
                                q_at += 1
                                if q_at == q_end:
                                    q_at -= depth[q]
                            if p >= 0:
                                freed[p_at] = t
                                p_at += 1
                                if p_at == p_end:
                                    p_at -= depth[p]
                            gap = over
                            if under > 1:
                                gap = (phase + over) // under
                                phase = (phase + over) % under
                            gaps += gap
                            ready = t + gap
                        busy += gaps
                        if p >= 0:
                            starved[row, p] += ready - began - gaps - holds
                            head[p] = p_at - ring_at[p]
                            held[p] -= count
                        if q >= 0:
                            blocked[row, q] += holds
                            tail[q] = q_at - ring_at[q]
                            held[q] += count
                        continue
                    for _ in range(count):
                        t, cause, is_full = ready, -1, False
                        for i in range(pop_from, pop_to):
                            f = pops[i]
                            arrived = arrival[ring_at[f] + head[f]]
                            if arrived > t:
                                t, cause = arrived, f
                        for i in range(push_from, push_to):
                            f = pushes[i]
                            place = freed[ring_at[f] + tail[f]] + 1
                            if place > t:
                                t, cause, is_full = place, f, True
                        if is_full:
                            blocked[row, cause] += t - ready
                        elif cause >= 0:
                            starved[row, cause] += t - ready
                        if cycles > 0:
                            t += gate_wait[gate + t % cycles]
                        for i in range(pop_from, pop_to):
                            f = pops[i]
                            at = head[f]
                            freed[ring_at[f] + at] = t
                            head[f] = at + 1 if at + 1 < depth[f] else 0
                        for i in range(push_from, push_to):
                            f = pushes[i]
                            at = tail[f]
                            arrival[ring_at[f] + at] = t + latency
                            tail[f] = at + 1 if at + 1 < depth[f] else 0
                        if first < 0:
                            first = t
                        gap = over
                        if under > 1:
                            gap = (phase + over) // under
                            phase = (phase + over) % under
                        busy += gap
                        ready = t + gap
                    for i in range(pop_from, pop_to):
                        held[pops[i]] -= count
                    for i in range(push_from, push_to):
                        held[pushes[i]] += count
                phases[a] = phase
                all_busy[row, a] += busy
                if left < before:
                    moved = True
                    for i in range(pop_from, pop_to):
                        awake[maker[pops[i]]] = True
                    for i in range(push_from, push_to):
                        awake[taker[pushes[i]]] = True
                    if is_new and run_opens[r]:
                        begins[row, slot + run_task[r]] = first
                if left > 0:
                    runs[a], readies[a], lefts[a] = r, ready, left
                    break
                if run_closes[r]:
                    ends[row, slot + run_task[r]] = ready
                r += 1
                if r < stop:
                    before = run_times[r]
                    continue
                runs[a], readies[a], lefts[a] = r, ready, 0
                _settle(tab, st, a, rounds)
                turned = turns[a] > row or (s == 1 and (loops[a] > loop or sections[a] != 1))
                if turned and a == anchor:
                    holds_anchor = True
                    break
                row, s, loop, r = turns[a], sections[a], loops[a], runs[a]
                if row >= rounds:
                    break
                before, slot, stop = lefts[a], slot_at[a, s] + loop * tasks[a, s], last[a, s]
        if not moved:
            if holds_anchor:
                return AT_ANCHOR
            return DONE if turns.min() >= rounds else STUCK
