"""Let every unit wait until its whole input is there: buffers in place of FIFOs.

A FIFO of a whole value's depth still lets its taker begin with the first beat. A buffer that is
filled, then read, does not: this is the naive schedule that published designs start from, operator
after operator. A word per FIFO and turn tells the taker that the maker has pushed its last beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hw_models.network import Actor, Channel, Firing, Network, Program


def as_buffers(network: Network, fifos: Sequence[str]) -> Network:
    """Return the network in which no beat of these FIFOs is popped before all of a turn are in.

    Each of them must hold a whole turn's beats.
    """
    actors = tuple(_fenced(actor, fifos) for actor in network.actors)
    # Two words: the maker may finish its next turn before its last one has been read.
    words = {word(f): Channel(2) for f in fifos}
    return Network(actors, {**network.channels, **words})


def word(fifo: str) -> str:
    """Return the name of the FIFO that tells that another is full."""
    return f"{fifo}, whole"


def _fenced(actor: Actor, fifos: Sequence[str]) -> Actor:
    before, body, after = (_fence(p, fifos) for p in actor.sections)
    return replace(actor, before=before, body=body, after=after)


def _fence(program: Program, fifos: Sequence[str]) -> Program:
    """Let the first firing of each task pop the words of what it takes, the last push its own."""
    if not program.kinds:
        return program
    names = [program.kinds[k].task for k in program.index]
    runs: list[tuple[int, Firing]] = []
    starts = [0, *(k for k in range(1, len(names)) if names[k] != names[k - 1]), len(names)]
    for start, stop in pairwise(starts):
        own = [(int(program.times[r]), program.kinds[program.index[r]]) for r in range(start, stop)]
        takes = {f for _, kind in own for f in kind.pops} & set(fifos)
        gives = {f for _, kind in own for f in kind.pushes} & set(fifos)
        runs += _with_words(own, sorted(map(word, takes)), sorted(map(word, gives)))
    return Program.of(*runs)


def _with_words(
    runs: list[tuple[int, Firing]], takes: list[str], gives: list[str]
) -> list[tuple[int, Firing]]:
    (first_times, first), (last_times, last) = runs[0], runs[-1]
    opening = replace(first, pops=(*first.pops, *takes))
    closing = replace(last, pushes=(*last.pushes, *gives))
    if len(runs) == 1 and first_times == 1:
        return [(1, replace(opening, pushes=closing.pushes))]
    if len(runs) == 1:
        return [(1, opening), (first_times - 2, first), (1, closing)]
    return [
        (1, opening), (first_times - 1, first), *runs[1:-1], (last_times - 1, last), (1, closing),
    ]  # fmt: skip
