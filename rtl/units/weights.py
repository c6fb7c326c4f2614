"""Pack the weights of a matrix unit into words, in the order in which the unit takes them.

Glossary:
    group       `lanes` rows in the task's order, done together; the last one may have fewer
    step        `columns` columns of a group; the last one may have fewer
    beat        the weights of a step: lanes x columns of them, row after row, the lowest bits first
    multipliers the scales of a group's rows: all of a row, then the next row's, the lowest first
What a group or a step lacks is 0, so that it adds nothing. In a stream the multipliers of a group
come before its beats, cut into pieces as wide as a beat; on chip they are words of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cosim.design.plan import Unit
from cosim.design.shapes import LinearShape, linear_shape
from cosim.ir.errors import InternalError
from rtl.units.plan import Job, UnitPlan


@dataclass(frozen=True, eq=False)
class Words:
    """Hold words of `bits` bits: bytes [words, bytes of a word], the lowest bits first."""

    bits: int
    data: np.ndarray

    def __len__(self) -> int:
        """Count the words."""
        return int(self.data.shape[0])

    def integers(self) -> list[int]:
        """Return the words as integers."""
        size, text = self.data.shape[1], self.data.tobytes()
        ends = range(0, len(self) * size, size)
        return [int.from_bytes(text[at : at + size], "little") for at in ends]

    @classmethod
    def join(cls, parts: list[Words]) -> Words:
        """Put words of one width one after another."""
        (bits,) = {p.bits for p in parts}
        return cls(bits, np.concatenate([p.data for p in parts]))


def packed(values: np.ndarray, bits: int) -> Words:
    """Pack [words, values of a word] of `bits` bits each.

    >>> packed(np.array([[1, -1], [7, 2]]), 4).integers()
    [241, 39]
    """
    count, each = values.shape
    kind = np.uint8 if bits <= 8 else np.uint64
    low: np.ndarray = (values & ((1 << bits) - 1)).astype(kind)
    if bits == 8:
        return Words(8 * each, low)
    if bits == 4 and each % 2 == 0:
        return Words(4 * each, low[:, ::2] | (low[:, 1::2] << 4))
    of_bit = (low[..., None] >> np.arange(bits).astype(kind) & kind(1)).astype(np.uint8)
    return Words(bits * each, np.packbits(of_bit.reshape(count, -1), axis=1, bitorder="little"))


def weight_words(job: Job, unit: Unit, weights: np.ndarray, bits: int) -> Words:
    """Return the beats of one layer's weights [R, K], a word each."""
    rows, columns = weights.shape
    groups, steps = -(-rows // unit.lanes), -(-columns // unit.columns)
    full = np.zeros((groups * unit.lanes, steps * unit.columns), np.int64)
    full[:rows, :columns] = weights[job.flow.stream.order]
    cut = full.reshape(groups, unit.lanes, steps, unit.columns).transpose(0, 2, 1, 3)
    return packed(cut.reshape(groups * steps, -1), bits)


def multiplier_words(job: Job, unit: Unit, multipliers: np.ndarray, bits: int) -> Words:
    """Return the multipliers [R, Kw] of one layer, a word for each group."""
    rows, each = multipliers.shape
    groups = -(-rows // unit.lanes)
    full = np.zeros((groups * unit.lanes, each), np.int64)
    full[:rows] = multipliers[job.flow.stream.order]
    return packed(full.reshape(groups, -1), bits)


def weights_of_turn(plan: UnitPlan, job: Job, turn: int) -> tuple[Words, Words]:
    """Return the beats and the multipliers of a job in one turn."""
    node = job.task.nodes[0]
    inputs = plan.folded.skeleton.sketch.node(node).inputs
    types = plan.folded.skeleton.sketch.types
    w, m = (plan.folded.constants(node, k) for k in (1, 2))
    layer = turn if len(w) > 1 else 0
    w_bits, m_bits = (types[inputs[k]].dtype.bits for k in (1, 2))
    return (
        weight_words(job, plan.unit, w[layer], w_bits),
        multiplier_words(job, plan.unit, m[layer], m_bits),
    )


def shape_of(plan: UnitPlan, job: Job) -> LinearShape:
    """Return the shape of a job's linear task."""
    return linear_shape(plan.folded.skeleton, job.task)


def in_order(plan: UnitPlan) -> Iterator[tuple[Job, int]]:
    """Go through the jobs of a round as the unit does them, each with its turn."""
    for part, turns in (("before", 1), ("block", plan.turns), ("after", 1)):
        for turn in range(turns):
            for job in plan.jobs:
                if job.task.part == part:
                    yield job, turn


def streamed(plan: UnitPlan) -> list[Words]:
    """Return what a round's stream of weights brings: the beats of each job, in order."""
    found = []
    for job, turn in in_order(plan):
        shape = shape_of(plan, job)
        weights, multipliers = weights_of_turn(plan, job, turn)
        scales, bits = shape.scale_steps(plan.unit, streamed=True), shape.beat_bits(plan.unit)
        steps = shape.weight_steps(plan.unit)
        pieces = _cut(multipliers, scales, bits)
        size = weights.data.shape[1]
        own = weights.data.reshape(-1, steps, size)
        both = np.concatenate([pieces, own], axis=1)
        found.append(Words(bits, both.reshape(-1, size)))
    return found


def on_chip(plan: UnitPlan) -> tuple[dict[int, Words], Words]:
    """Return a round's beats in order, by the bits of a weight, and its groups' multipliers.

    A multiplier word is as wide as the widest; narrower ones leave its upper bits 0.
    """
    beats: dict[int, list[Words]] = {}
    scales: list[Words] = []
    for job, turn in in_order(plan):
        weights, multipliers = weights_of_turn(plan, job, turn)
        beats.setdefault(shape_of(plan, job).weight_bits, []).append(weights)
        scales.append(multipliers)
    bits = max(s.bits for s in scales)
    wide = [Words(bits, _widened(s.data, -(-bits // 8))) for s in scales]
    return {width: Words.join(parts) for width, parts in beats.items()}, Words.join(wide)


def _cut(words: Words, pieces: int, bits: int) -> np.ndarray:
    """Cut words into pieces of so many bits; return bytes [words, pieces, bytes of a piece]."""
    if pieces * bits < words.bits:
        raise InternalError(f"{pieces} pieces of {bits} bits hold no {words.bits} bits")
    of_bit = np.unpackbits(words.data, axis=1, count=words.bits, bitorder="little")
    full = np.zeros((len(words), pieces * bits), np.uint8)
    full[:, : words.bits] = of_bit
    return np.packbits(full.reshape(len(words), pieces, bits), axis=2, bitorder="little")


def _widened(data: np.ndarray, size: int) -> np.ndarray:
    return np.pad(data, ((0, 0), (0, size - data.shape[1])))
