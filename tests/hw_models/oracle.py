"""Play a network cycle by cycle with queues of beats and credits: slow, and written apart.

It shares no code with the recurrences: here time advances, and each actor looks at its FIFOs as the
wires would. Nothing happens in a cycle's middle: what an actor does in one cycle, others see in the
next one at the earliest.
"""

from collections import deque
from fractions import Fraction
from math import floor

from hw_models.network import Network


class Fifo:
    """Hold the arrival times of the beats under way, and the times at which credits come back."""

    def __init__(self, depth: int, initial: int) -> None:
        self.beats = deque([0] * initial)
        self.credits = deque([0] * (depth - initial))


def firings_of(actor, rounds):
    """List every firing of an actor with its round, and the gap to the next one."""
    listed = []
    for turn in range(rounds):
        turns = [actor.before, *([actor.body] * actor.loops), actor.after]
        for program in turns:
            for index, times in zip(program.index, program.times, strict=True):
                kind = program.kinds[index]
                done = Fraction(0)
                for _ in range(int(times)):
                    gap = floor(done + kind.interval) - floor(done)
                    done += kind.interval
                    listed.append((turn, kind, gap))
    return listed


def allowed(pattern, now):
    """Tell whether a source or a sink with this pattern may move a beat in this cycle."""
    return pattern is None or pattern.allowed[now % len(pattern.allowed)]


def play(network: Network, rounds: int, patience: int = 400):
    """Return (starts, finish): each actor's firing starts, and its end of each round.

    Return None where nothing has moved for `patience` cycles and something is left to do.
    """
    fifos = {n: Fifo(c.depth, c.initial) for n, c in network.channels.items()}
    todo = {a.name: deque(firings_of(a, rounds)) for a in network.actors}
    patterns = {a.name: a.pattern for a in network.actors}
    free_at = {a.name: 0 for a in network.actors}
    starts = {a.name: [] for a in network.actors}
    finish = {a.name: [0] * rounds for a in network.actors}
    now = quiet = 0
    while any(todo.values()):
        acted = []
        for name, queue in todo.items():
            if not queue or free_at[name] > now or not allowed(patterns[name], now):
                continue
            turn, kind, gap = queue[0]
            there = all(fifos[f].beats and fifos[f].beats[0] <= now for f in kind.pops)
            room = all(fifos[f].credits and fifos[f].credits[0] <= now for f in kind.pushes)
            if there and room:
                acted.append((name, turn, kind, gap))
        for name, turn, kind, gap in acted:
            todo[name].popleft()
            starts[name].append(now)
            free_at[name] = now + gap
            for i in range(turn, rounds):
                finish[name][i] = now + gap
            for f in kind.pops:
                fifos[f].beats.popleft()
                fifos[f].credits.append(now + 1)
            for f in kind.pushes:
                fifos[f].credits.popleft()
                fifos[f].beats.append(now + kind.latency)
        quiet = 0 if acted else quiet + 1
        if quiet > patience:
            return None
        now += 1
    return starts, finish
