"""Make the ports of what is spilt: windows and states, FIFOs, and sequences between segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from cosim.design.design import Design
from cosim.design.drawn import constant_bits, drawing_tasks
from cosim.design.plan import Fifo, Layout, Task
from cosim.design.sketch import Part
from cosim.design.streams import Passage
from cosim.design.tasks import Skeleton
from cosim.design.traffic import port_of, sequence_bits
from cosim.machine import Port
from hw_models.network import Channel, Program
from hw_models.passes import Passes, repeated
from hw_models.steps import Draws
from hw_models.units import memory

BACK, SPILT = ".back", ".spilt"
Ports = Callable[[str, Fraction], Port]
Piece = tuple[str, Part, Program]


def both_ways(
    what: str, task: Task, beats: int, beat_bits: int, port: Port, times: int
) -> list[Piece]:
    """Return the two ports of what a task takes and gives back: `state` or `window`."""
    written = f"{what}.written"
    read = memory.read_back(task.name, written, f"{what}.in", beats, beat_bits, port)
    write = memory.write_back(task.name, written, f"{what}.out", beats, beat_bits, port)
    return [
        (f"{what}.read", task.part, repeated(read, times)),
        (f"{what}.write", task.part, repeated(write, times)),
    ]


def constant_part(skeleton: Skeleton, unit: str) -> Fraction:
    """Return the part that a unit's port has of the share of all constants: as its bits are."""
    bits = {t: constant_bits(skeleton, t) * n for t, n in drawing_tasks(skeleton)}
    return Fraction(sum(b for t, b in bits.items() if t.unit == unit), sum(bits.values()))


def back(fifo: Fifo) -> Fifo:
    """Return a FIFO as its taker sees it: one that is spilt comes back by another name."""
    return replace(fifo, name=fifo.channel + BACK, shared="") if fifo.near else fifo


def spilt(
    skeleton: Skeleton, task: Task, out: Iterable[Fifo], passes: Passes, ports: Ports
) -> list[Piece]:
    """Return the ports of the FIFOs of a maker that are spilt, in the order of its passes."""
    found: list[Piece] = []
    for fifo in out:
        if not fifo.near:
            continue
        name, taker = fifo.channel, skeleton.task(fifo.taker)
        beats = Passage.of(skeleton, task, taker, fifo.value).count(fifo.beat)
        bits, port = (
            fifo.beat * skeleton.sketch.types[fifo.value].dtype.bits,
            ports(port_of(name), Fraction(1, 2)),
        )
        total = beats * passes.count
        write = memory.stored(task.name, name, name + SPILT, total, bits, port)
        read = memory.brought(task.name, name + SPILT, name + BACK, total, bits, port)
        found += [
            (f"spill.write {name}", task.part, write),
            (f"spill.read {name}", task.part, read),
        ]
    return found


def spilt_channels(fifos: Iterable[Fifo]) -> dict[str, Channel]:
    """Return the places off chip of FIFOs that are spilt, and those where they come back."""
    found: dict[str, Channel] = {}
    for fifo in fifos:
        if fifo.near:
            found[fifo.channel + SPILT] = Channel(fifo.depth)
            found[fifo.channel + BACK] = Channel(fifo.near)
    return found


def sequence(
    skeleton: Skeleton, layout: Layout, design: Design, task: Task, ports: Ports
) -> tuple[Draws | None, list[Piece]]:
    """Return what a source draws of a sequence off chip, or a sink puts there, and its port."""
    if design.places["sequences"] == "chip" or task.name not in layout.sequences:
        return None, []
    steps = -(-task.span // design.unit(task.unit).lanes)
    bits = sequence_bits(skeleton, task.name)
    all_bits = sum(sequence_bits(skeleton, name) for name in layout.sequences)
    port = ports("sequences", Fraction(bits, all_bits))
    fifo, beat_bits = sequence_fifo(task.name), -(-bits // steps)
    if task.name.startswith("source."):
        program, way = memory.fetched(task.name, fifo, steps, beat_bits, port), "read"
    else:
        program, way = memory.stored(task.name, fifo, "", steps, beat_bits, port), "write"
    return Draws(fifo, np.ones(steps, bool)), [(f"sequence.{way} {task.name}", task.part, program)]


def sequence_fifo(task: str) -> str:
    """Return the name of the FIFO between a source or sink and its port."""
    return f"{task}.sequence"


def sequence_channels(layout: Layout, design: Design) -> dict[str, Channel]:
    """Return the FIFOs between sources and sinks and their ports."""
    if design.places["sequences"] == "chip":
        return {}
    depth = Channel(design.choices.shallow_beats)
    names: Sequence[str] = layout.sequences
    return {sequence_fifo(name): depth for name in names}
