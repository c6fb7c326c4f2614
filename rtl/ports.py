"""Describe the ports of a whole design: which elements of which value move in which beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cosim.design.arrange import beat_of
from cosim.design.streams import TaskStream
from cosim.ir.types import IntType
from rtl.units.ends import port_names
from rtl.units.plan import UnitPlan


@dataclass(frozen=True, eq=False)
class Beats:
    """Say how a value goes through a port.

    `elements` are those of the value in the order in which they move, `beat` of them at a time, the
    first one lowest; `carried` tells which beats move. `wanted` are the elements of the value that
    the graph's output `end` has at each place, -1: none of this value.
    """

    name: str
    end: str
    dtype: IntType
    elements: np.ndarray
    beat: int
    carried: np.ndarray
    wanted: np.ndarray

    @property
    def count(self) -> int:
        """Count the beats of a token."""
        return int(self.carried.sum())

    @property
    def bits(self) -> int:
        """Return the bits of a beat."""
        return self.beat * self.dtype.bits

    def pack(self, values: np.ndarray) -> list[int]:
        """Return the beats of a value of any shape."""
        bits, mask = self.dtype.bits, (1 << self.dtype.bits) - 1
        flat = values.reshape(-1)[self.elements].tolist()
        words = [
            sum((v & mask) << (k * bits) for k, v in enumerate(flat[at : at + self.beat]))
            for at in range(0, len(flat), self.beat)
        ]
        return [w for w, there in zip(words, self.carried.tolist(), strict=True) if there]

    def unpack(self, beats: Sequence[int]) -> np.ndarray:
        """Return the value, flat, of the beats of a token; what no beat carries is 0."""
        bits, mask = self.dtype.bits, (1 << self.dtype.bits) - 1
        top = 1 << (bits - 1) if self.dtype.signed else 0
        found = np.zeros(self.elements.size, np.int64)
        for number, word in zip(np.flatnonzero(self.carried).tolist(), beats, strict=True):
            own = self.elements[number * self.beat : (number + 1) * self.beat]
            found[own] = [(((word >> (k * bits)) & mask) ^ top) - top for k in range(own.size)]
        return found

    def mask(self, number: int) -> int:
        """Return which bits of a token's beat number `number` mean something."""
        at = int(np.flatnonzero(self.carried)[number]) * self.beat
        return (1 << (min(self.beat, self.elements.size - at) * self.dtype.bits)) - 1


def inputs_of(plans: Mapping[str, UnitPlan]) -> list[Beats]:
    """Return the ports of the graph's inputs."""
    found = []
    for plan in plans.values():
        if plan.kind != "source":
            continue
        (job,) = plan.jobs
        ((value, name),) = port_names(job).items()
        type_ = plan.folded.type(value)
        beat = beat_of(plan.unit.lanes, type_.size, job.task.span)
        order = np.arange(type_.size)
        carried = np.ones(-(-type_.size // beat), bool)
        found.append(Beats(name, value, type_.dtype, order, beat, carried, order))
    return found


def outputs_of(plans: Mapping[str, UnitPlan]) -> list[Beats]:
    """Return the ports of the graph's outputs."""
    found = []
    for plan in plans.values():
        if plan.kind != "sink":
            continue
        (job,) = plan.jobs
        skeleton = job.flow.skeleton
        for fifo in job.into:
            elements = TaskStream.of(skeleton, skeleton.task(fifo.maker)).emission(fifo.value)
            found.append(
                Beats(
                    port_names(job)[fifo.name], job.task.name.removeprefix("sink."),
                    skeleton.sketch.types[fifo.value].dtype, elements, fifo.beat,
                    job.flow.passage(fifo).carried(fifo.beat), job.flow.stream.needs(fifo.value)[0],
                )
            )  # fmt: skip
    return found
