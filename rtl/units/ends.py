"""Build what joins the units: sources and sinks of a token, and switches between the layers.

A source takes an input's beats from a port of the design and passes them on; the first one waits
for a word from every sink, so that a token starts when the outputs of the last one are out. A sink
gives an output's beats on a port, and that word with its last beat. A switch passes a carried value
on: before the layers from what stands there, then from the layer before, and at last to what
follows. All of them are wires and a control: beats pass in the cycle of their firing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyrtl

from cosim.design import Fifo as Channel
from cosim.design.arrange import beat_of
from cosim.design.rows import Emission, lay_rows
from cosim.ir.errors import UserError
from cosim.ir.types import IntType
from rtl.names import legal
from rtl.numerics import Wire, pick
from rtl.streams import Stream, given, taken
from rtl.units.fifo import Fifo
from rtl.units.plan import Job, UnitPlan
from rtl.units.runs import Flags, runs_of, schedule_of
from rtl.units.schedule import Run, Schedule
from rtl.units.shell import Control, attach

# Beats pass a source, a sink and a switch in the cycle of their firing.
LATENCY = 1


def port_names(job: Job) -> dict[str, str]:
    """Return the ports of a source or sink: of a source by its value, of a sink by FIFO."""
    name = legal(job.task.name.split(".", 1)[1])
    if job.task.name.startswith("source."):
        return {job.task.name.split(".", 1)[1]: name}
    if len(job.into) == 1:
        return {job.into[0].name: name}
    return {f.name: f"{name}_{k}" for k, f in enumerate(job.into)}


def source(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach a source in the open block, with its port."""
    (job,) = plan.jobs
    flow, lanes = job.flow, plan.unit.lanes
    ((value, name),) = port_names(job).items()
    rows = lay_rows(-(-flow.task.span // lanes), {}, flow.emissions(lanes))
    first = np.zeros(rows.is_step.size, bool)
    first[0] = True
    type_ = plan.folded.type(value)
    port = taken(name, beat_of(lanes, type_.size, flow.task.span) * type_.dtype.bits)
    pops = {**dict.fromkeys(plan.words_in, first), name: rows.is_step}
    schedule = schedule_of(plan, {flow.task.name: runs_of(pops, rows.pushes, {}, LATENCY)})
    streams = {**into, name: port}
    attach(schedule, streams, queues, lambda _, beats: dict.fromkeys(queues, beats[name]))


def sink(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach a sink in the open block, with a port for each FIFO that it pops."""
    (job,) = plan.jobs
    flow, lanes = job.flow, plan.unit.lanes
    rows = lay_rows(-(-flow.task.span // lanes), flow.needs(lanes), [])
    last = np.zeros(rows.is_step.size, bool)
    last[-1] = True
    names = port_names(job)
    pushes: dict[str, np.ndarray] = {names[f]: flags for f, flags in rows.pops.items()}
    pushes |= dict.fromkeys(queues, last)
    schedule = schedule_of(plan, {flow.task.name: runs_of(rows.pops, pushes, {}, LATENCY)})

    def datapath(_: object, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        word = dict.fromkeys(queues, pyrtl.Const(1, 1))
        return {**word, **{names[f]: beat for f, beat in beats.items()}}

    ports = {names[f.name]: given(names[f.name], f.width_bits) for f in job.into}
    attach(schedule, into, queues, datapath, ports)


def switch(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach a switch in the open block.

    Raise UserError where beats do not come as they go: it passes them on and keeps none.
    """
    (job,) = plan.jobs
    flow, lanes, sketch = job.flow, plan.unit.lanes, plan.folded.skeleton.sketch
    carry = sketch.carries[flow.task.name]
    views, parts = flow.skeleton.views, {t.name: t.part for t in flow.skeleton.tasks}
    first = [f for f in flow.into if carry.first and f.value in views[carry.first].roots]
    block = [f for f in flow.into if f.value in views[carry.block].roots]
    inside = {f.name for f in flow.out if parts[f.taker] == "block"}
    behind = {f.name for f in flow.out if parts[f.taker] == "after"}
    _check_passes(job, first, block)
    needs, emissions = flow.needs(lanes), flow.emissions(lanes)

    def passing(sources: Sequence[Channel], out: set[str], is_first: bool) -> tuple[Run, ...]:
        if not sources:
            return ()
        picked = [Emission(e.steps, {f: u for f, u in e.goes_to.items() if f in out})
                  for e in emissions]  # fmt: skip
        rows = lay_rows(
            -(-flow.task.span // lanes), {f.name: needs[f.name] for f in sources},
            [e for e in picked if e.goes_to],
        )  # fmt: skip
        marks: Flags = {"first": np.full(rows.is_step.size, is_first)}
        return runs_of(rows.pops, rows.pushes, marks, LATENCY)

    schedule = Schedule(
        passing(first, inside, True), passing(block, inside, False), passing(block, behind, False),
        plan.folded.layout.layers - 1,
    )  # fmt: skip
    dtype = sketch.types[flow.task.name].dtype

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        options = [
            _widened(beats[f.name], sketch.types[f.value].dtype, dtype) for f in (*first, *block)
        ]
        beat = options[0]
        if len(options) > 1:
            beat = pyrtl.select(control.marks["first"], *options)
        return dict.fromkeys(queues, beat)

    attach(schedule, into, queues, datapath)


def _check_passes(job: Job, first: Sequence[Channel], block: Sequence[Channel]) -> None:
    """Raise UserError unless every beat that a switch takes is one that it gives."""
    stream, beats = job.flow.stream, {f.beat for f in job.out}
    for ways in (first, block):
        if len(ways) > 1:
            raise UserError(
                f"switch {job.task.name!r} would take {[f.value for f in ways]} together; wires "
                "are built where one value goes from layer to layer"
            )
        for fifo in ways:
            maker = job.flow.skeleton.task(fifo.maker)
            emitted = type(stream).of(job.flow.skeleton, maker).emission(fifo.value)
            if not np.array_equal(stream.needs(fifo.value)[0], emitted) or {fifo.beat} != beats:
                raise UserError(
                    f"switch {job.task.name!r} takes beats of {fifo.beat} elements from "
                    f"{fifo.maker!r} and gives beats of {sorted(beats)}, or in another order; give "
                    "both units the same lanes"
                )


def _widened(beat: Wire, own: IntType, wanted: IntType) -> Wire:
    """Widen each value of a beat from its type to another."""
    if own.bits == wanted.bits:
        return beat
    bits: list[int] = []
    for low in range(0, len(beat), own.bits):
        if not own.signed:
            break
        top = low + own.bits - 1
        bits += [*range(low, low + own.bits), *[top] * (wanted.bits - own.bits)]
    if own.signed:
        return pick(beat, bits)
    values = [beat[low : low + own.bits] for low in range(0, len(beat), own.bits)]
    return pyrtl.concat_list([v.zero_extended(wanted.bits) for v in values])
