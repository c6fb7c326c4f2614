"""Lay out what a unit that stands alone is fed and what must come out: beats, gaps and stalls.

A feed stands before each FIFO that the unit pops, a drain behind each FIFO that it pushes. What
goes in and must come out is said by `values.py`; in which cycle, by the cycle model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cosim.design import Fifo
from cosim.design.plan import STATE_FIFOS
from cosim.design.streams import TaskStream
from rtl.simulate import Drain, Feed
from rtl.units.kept import streams_of, words_of_states
from rtl.units.plan import Job, UnitPlan
from rtl.units.rows import laid
from rtl.units.stages import latency_of
from rtl.units.values import Values, name_in
from rtl.units.weights import in_order

STATE_IN, STATE_OUT = STATE_FIFOS


@dataclass(frozen=True)
class Beat:
    """Hold a beat's word, which of its bits mean something, and how many elements those are."""

    word: int
    mask: int
    elements: int


@dataclass(frozen=True)
class Case:
    """Hold what goes into a unit, what must come out, and the depth of each FIFO behind it."""

    feeds: Mapping[str, Feed]
    drains: Mapping[str, Drain]
    expected: Mapping[str, list[Beat]]
    places: Mapping[str, int]
    tokens: int


def make_case(
    plan: UnitPlan,
    values: Values,
    tokens: int,
    seed: int,
    calm: bool = False,
    extra: Mapping[str, list[int]] | None = None,
) -> Case:
    """Lay out some tokens of a unit, all from reset; `calm`: without gaps and stalls.

    `extra` are a token's beats of streams that come in besides: weights.
    """
    rng = random.Random(seed)
    beats: dict[str, list[Beat]] = {f.name: [] for f in (*plan.into, *plan.out)}
    for token in range(tokens):
        for job, turn in in_order(plan):
            for fifo in (*job.into, *job.out):
                name = name_in(plan, fifo.value, turn, job.task.part)
                beats[fifo.name] += beats_of(plan, job, fifo, values(token, turn, name), rng)
    states = streams_of(plan)
    if states is not None:
        beats |= states_of(plan, values, tokens, rng)
    words = {f.name: [b.word for b in beats[f.name]] for f in plan.into}
    words |= {name: list(own) * tokens for name, own in (extra or {}).items()}
    words |= {STATE_IN: [b.word for b in beats[STATE_IN]]} if states else {}
    places = {f.name: f.depth for f in plan.out} | ({STATE_OUT: states.places} if states else {})
    feeds, drains = {}, {}
    for name, own in words.items():
        gaps, allowed = _patterns(rng, len(own), calm)
        gaps = _apart(plan, gaps, len(own), tokens)
        depth = None if calm else rng.choice([None, 1, 2, 5])
        feeds[name] = Feed(own, gaps, depth, 1 if calm else rng.randint(1, 4), allowed=allowed)
    for name in places:
        gaps, allowed = _patterns(rng, len(beats[name]), calm)
        drains[name] = Drain(len(beats[name]), gaps, allowed=allowed)
    return Case(feeds, drains, {name: beats[name] for name in places}, places, tokens)


def beats_of(
    plan: UnitPlan, job: Job, fifo: Fifo, data: np.ndarray, noise: random.Random
) -> list[Beat]:
    """Return the beats in which a value goes through a FIFO."""
    skeleton = plan.folded.skeleton
    emitted = TaskStream.of(skeleton, skeleton.task(fifo.maker)).emission(fifo.value)
    bits = plan.folded.type(fifo.value).dtype.bits
    carried = job.flow.passage(fifo).carried(fifo.beat)
    in_turn = data.reshape(-1)[emitted]
    return [
        pack(in_turn[at * fifo.beat : (at + 1) * fifo.beat], bits, fifo.beat, noise)
        for at in np.flatnonzero(carried)
    ]


def pack(values: np.ndarray, bits: int, beat: int, noise: random.Random) -> Beat:
    """Pack the elements of a beat, the first one lowest; above them stands noise."""
    mask = (1 << bits) - 1
    word, used = 0, bits * values.size
    for place, value in enumerate(values.tolist()):
        word |= (value & mask) << (place * bits)
    if beat > values.size:
        word |= noise.getrandbits(bits * (beat - values.size)) << used
    return Beat(word, (1 << used) - 1, values.size)


def cycles_apart(plan: UnitPlan) -> int:
    """Return the cycles between turns that a state unit may count on.

    A layer's next turn hangs on the beats of this one, so that no state comes back before it is
    written. Alone, a unit of few rows must be fed so.
    """
    if plan.kind != "state" or plan.turns == 1:
        return 1
    latency, rows = latency_of(plan), laid(plan).count
    return 1 if rows * plan.turns >= latency else latency


def _apart(plan: UnitPlan, gaps: list[int], count: int, tokens: int) -> list[int]:
    """Let the last beat of each turn keep the next one off for as long as it must."""
    apart = cycles_apart(plan)
    if apart > 1:
        gaps = list(gaps) * (count if len(gaps) == 1 else 1)
        each = count // (tokens * plan.turns)
        gaps[each - 1 :: each] = [apart] * len(gaps[each - 1 :: each])
    return gaps


def _patterns(rng: random.Random, count: int, calm: bool) -> tuple[list[int], list[bool]]:
    """Draw intervals for a round's beats, and the cycles that are allowed."""
    if calm:
        return [1], [True]
    gaps = [rng.choice([1, 1, 1, rng.randint(1, 6)]) for _ in range(count)]
    allowed = [True, *(rng.random() < 0.6 for _ in range(rng.choice([0, 0, 3, 11])))]
    return gaps, allowed


def states_of(
    plan: UnitPlan, values: Values, tokens: int, rng: random.Random
) -> dict[str, list[Beat]]:
    """Return the beats of states that come in, noise before the first token, and that go out."""
    own, sketch = laid(plan), plan.folded.skeleton.sketch
    found: dict[str, list[Beat]] = {STATE_IN: [], STATE_OUT: []}
    words = words_of_states(own, plan.folded).values()
    before: dict[tuple[str, int], np.ndarray] = {}
    for token in range(tokens):
        for turn in range(plan.turns):
            after = {w.state: values(token, turn, name_in(plan, sketch.states[w.state], turn, ""))
                     for w in words}  # fmt: skip
            for row in np.flatnonzero(own.rows.is_step):
                for name in (STATE_IN, STATE_OUT):
                    beat = mask = low = elements = 0
                    for w in words:
                        used = w.elements[row][w.elements[row] >= 0]
                        data = after[w.state] if name == STATE_OUT else before.get((w.state, turn))
                        one = Beat(rng.getrandbits(w.bits), 0, 0)
                        if data is not None:
                            one = pack(data.reshape(-1)[used], w.type.dtype.bits, w.width, rng)
                        beat, mask = beat | one.word << low, mask | one.mask << low
                        elements, low = elements + one.elements, low + w.bits
                    found[name].append(Beat(beat, mask, elements))
            before |= {(n, turn): data for n, data in after.items()}
    return found
