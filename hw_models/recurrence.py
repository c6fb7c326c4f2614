# ruff: noqa: ANN001, ANN201, ANN202, PLR0912, PLR0915
"""Advance the max-plus recurrences of a network, compiled by numba.

Numba compiles by the types of the arguments, and what it compiles fast is one long body: hence no
annotations on compiled functions here, and no rule on their length.

Names of the arrays (a actor, s section 0..2, r run, k kind, f FIFO, i round, t task):
    run_kind, run_times, run_task    [runs]; a run's task is numbered from 0 within its section
    run_opens, run_closes            whether a run is the first, or the last, of its task
    first, last [a, s]               runs of a section: first <= r < last
    pop_at, push_at [k + 1]          a kind's FIFOs in pops, pushes; latency, over, under: its times
    depth, ring_at [f]               a FIFO's size and its place in the rings
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
def _fire_run(tab, st, a, row):  # type: ignore[no-untyped-def]
    """Fire an actor's current run until it is over or blocked; return firings left, first start.

    Arrays are taken out of the tuples first: reaching into a tuple costs more than a firing.
    """
    ring_at, depth, held, head, tail = tab.ring_at, tab.depth, st.held, st.head, st.tail
    arrival, freed = st.arrival, st.freed
    starved, blocked = st.starved[row], st.blocked[row]
    k = tab.run_kind[st.run[a]]
    pops = tab.pops[tab.pop_at[k] : tab.pop_at[k + 1]]
    pushes = tab.pushes[tab.push_at[k] : tab.push_at[k + 1]]
    latency, over, under = tab.latency[k], tab.over[k], tab.under[k]
    left, ready, busy, first = st.left[a], st.ready[a], 0, -1
    phase = 0 if left == tab.run_times[st.run[a]] else st.phase[a]
    while left > 0:
        # As many firings as are sure to have their beats and places; 0 means blocked.
        count = left
        for f in pops:
            count = min(count, held[f])
        for f in pushes:
            count = min(count, depth[f] - held[f])
        if count == 0:
            break
        if pops.size <= 1 and pushes.size <= 1:
            # The common case with its places in registers; the same rules as below.
            p = pops[0] if pops.size else -1
            q = pushes[0] if pushes.size else -1
            p_ring, p_depth, p_at = (ring_at[p], depth[p], head[p]) if p >= 0 else (0, 1, 0)
            q_ring, q_depth, q_at = (ring_at[q], depth[q], tail[q]) if q >= 0 else (0, 1, 0)
            waits, holds = 0, 0
            if first < 0:
                t = ready
                if p >= 0:
                    t = max(t, arrival[p_ring + p_at])
                if q >= 0:
                    t = max(t, freed[q_ring + q_at] + 1)
                first = t
            for _ in range(count):
                t, is_full = ready, False
                if p >= 0:
                    t = max(t, arrival[p_ring + p_at])
                if q >= 0:
                    place = freed[q_ring + q_at] + 1
                    if place > t:
                        t, is_full = place, True
                if is_full:
                    holds += t - ready
                else:
                    waits += t - ready
                if p >= 0:
                    freed[p_ring + p_at] = t
                    p_at = p_at + 1 if p_at + 1 < p_depth else 0
                if q >= 0:
                    arrival[q_ring + q_at] = t + latency
                    q_at = q_at + 1 if q_at + 1 < q_depth else 0
                gap = over
                if under > 1:
                    gap = (phase + over) // under
                    phase = (phase + over) % under
                busy += gap
                ready = t + gap
            if p >= 0:
                starved[p] += waits
                head[p] = p_at
                held[p] -= count
            if q >= 0:
                blocked[q] += holds
                tail[q] = q_at
                held[q] += count
            left -= count
            continue
        for _ in range(count):
            t, cause, is_full = ready, -1, False
            for f in pops:
                at = head[f]
                arrived = arrival[ring_at[f] + at]
                if arrived > t:
                    t, cause = arrived, f
            for f in pushes:
                place = freed[ring_at[f] + tail[f]] + 1
                if place > t:
                    t, cause, is_full = place, f, True
            if is_full:
                blocked[cause] += t - ready
            elif cause >= 0:
                starved[cause] += t - ready
            for f in pops:
                at = head[f]
                freed[ring_at[f] + at] = t
                head[f] = at + 1 if at + 1 < depth[f] else 0
            for f in pushes:
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
        for f in pops:
            held[f] -= count
        for f in pushes:
            held[f] += count
        left -= count
    st.ready[a], st.phase[a] = ready, phase
    st.busy[row, a] += busy
    return left, first


@njit(cache=True)
def _advance_actor(tab, st, rounds, a):  # type: ignore[no-untyped-def]
    """Fire an actor until it is blocked or has finished a turn; return (moved, turned)."""
    moved = False
    while st.turn[a] < rounds:
        r, row, s, loop = st.run[a], st.turn[a], st.section[a], st.loop[a]
        slot = tab.slot_at[a, s] + loop * tab.tasks[a, s] + tab.run_task[r]
        before = st.left[a]
        left, first = _fire_run(tab, st, a, row)
        if before == tab.run_times[r] and tab.run_opens[r] and first >= 0:
            st.begin[row, slot] = first
        moved = moved or left < before
        st.left[a] = left
        if left > 0:
            return moved, False
        if tab.run_closes[r]:
            st.end[row, slot] = st.ready[a]
        st.run[a] = r + 1
        _settle(tab, st, a, rounds)
        if st.turn[a] > row or (s == 1 and (st.loop[a] > loop or st.section[a] != 1)):
            return True, True
    return moved, False


@njit(cache=True)
def advance(tab, st, rounds, anchor):  # type: ignore[no-untyped-def]
    """Sweep over the actors, each as far as it gets, until something is to be reported.

    Return AT_ANCHOR when the anchor has finished a turn of its body or a round and all others have
    come as far as they can without it (so that the state does not depend on the order of the
    sweep), DONE when all rounds are done, STUCK when no actor can move.
    """
    holds = False
    while True:
        moved = False
        for a in range(st.run.size):
            turned = not (holds and a == anchor)
            while turned:
                went, turned = _advance_actor(tab, st, rounds, a)
                moved = moved or went
                if turned and a == anchor:
                    holds, turned = True, False
        if st.turn.min() >= rounds:
            return DONE
        if not moved:
            return AT_ANCHOR if holds else STUCK
