"""Fork a stream to several FIFOs, join several streams to one: actors of one firing."""

from __future__ import annotations

from collections.abc import Mapping

import pyrtl

from rtl.netlist import Block
from rtl.units.schedule import Firing, Schedule
from rtl.units.shell import Place, actor


def fork(source: str, outputs: Mapping[str, Place]) -> Block:
    """Build a unit that gives each beat of a stream to all outputs, when all have a place."""
    bits = next(iter(outputs.values())).bits
    schedule = Schedule(((1, Firing((source,), tuple(outputs))),))
    return actor(
        schedule, {source: bits}, outputs, lambda _, beats: dict.fromkeys(outputs, beats[source])
    )


def join(inputs: Mapping[str, int], output: str, depth: int) -> Block:
    """Build a unit that sets a beat of each input side by side; the first input is lowest."""
    schedule = Schedule(((1, Firing(tuple(inputs), (output,))),))
    place = Place(sum(inputs.values()), depth)
    return actor(
        schedule, inputs, {output: place},
        lambda _, beats: {output: pyrtl.concat_list([beats[n] for n in inputs])},
    )  # fmt: skip
