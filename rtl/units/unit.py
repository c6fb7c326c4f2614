"""Make a unit a block: streams in, what its kind builds, and its FIFOs behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from cosim.design.kinds import Kind
from cosim.design.plan import STATE_FIFOS
from cosim.design.sketch import STAR
from cosim.ir.errors import UserError
from rtl.names import Names
from rtl.netlist import Block, building
from rtl.streams import Stream, drive, given, taken
from rtl.units import attention, ends, fir, hadamard, matrix, memory, norm, state, vector
from rtl.units.fifo import Fifo, fifo
from rtl.units.kept import streams_of
from rtl.units.plan import UnitPlan

# From the plan, the streams popped and the FIFOs pushed, all by name, to wires of the open block.
Build = Callable[[UnitPlan, Mapping[str, Stream], Mapping[str, Fifo]], None]
BUILDS: Mapping[Kind, Build] = {
    "attention": attention.build,
    "fir": fir.build,
    "hadamard": hadamard.build,
    "matrix": matrix.build,
    "memory": memory.build,
    "norm": norm.build,
    "sink": ends.sink,
    "source": ends.source,
    "switch": ends.switch,
    "state": state.build,
    "vector": vector.build,
}


def unit_block(
    plan: UnitPlan,
    extra: Mapping[str, int] | None = None,
    names: Mapping[str, str] | None = None,
) -> Block:
    """Build a unit as a block of its own; its FIFOs stand behind it, in the same block.

    `extra` are streams that come in besides, with their bits: weights. The streams, those of
    states and rows that are off chip included, are called as `names` or else `unit_ports` says;
    ports of the whole design as `ends` calls them, and addresses by what `memory` calls them.
    """
    with building() as block:
        widths = {f.name: f.width_bits for f in plan.into} | dict(extra or {})
        widths |= dict.fromkeys(plan.words_in, 1)
        states = streams_of(plan)
        widths |= {STATE_FIFOS[0]: states.bits} if states else {}
        row_bits = memory.fetched_bits(plan)
        widths |= {memory.ROW: row_bits} if row_bits else {}
        ports = names or unit_ports(plan, extra)
        into = {name: taken(ports[name], bits) for name, bits in widths.items()}
        queues = queues_of(plan)
        build_unit(plan, into, queues)
        for name, queue in queues.items():
            give_out(queue, ports[name])
    return block


def give_out(queue: Fifo, port: str) -> None:
    """Let a FIFO's beats leave the block by a stream of its own."""
    out = given(port, len(queue.data))
    drive(queue.pop, queue.valid & out.ready)
    drive(out.valid, queue.valid)
    drive(out.data, queue.data)


def unit_ports(plan: UnitPlan, extra: Iterable[str] | None = None) -> dict[str, str]:
    """Return what each stream of a unit's block is called in Verilog, by the name of its FIFO."""
    names = Names("unit")
    streams = [f.name for f in (*plan.into, *plan.out)] + list(extra or ())
    streams += [*plan.words_in, *plan.words_out, *(STATE_FIFOS if streams_of(plan) else ())]
    streams += [memory.ROW] if memory.fetched_bits(plan) else []
    for name in streams:
        names.add(name, short_name(name))
    return {name: names[name] for name in streams}


def short_name(fifo: str) -> str:
    """Return a FIFO's name without what says that it serves all layers.

    >>> short_name("layers.*.B -> layers.*.ssm.read")
    'B_ssm_read'
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", fifo.replace(STAR, ""))


def queues_of(plan: UnitPlan) -> dict[str, Fifo]:
    """Build the FIFOs that a unit pushes in the open block."""
    queues = {f.name: fifo(f.depth, f.width_bits) for f in plan.out}
    states = streams_of(plan)
    queues |= {STATE_FIFOS[1]: fifo(states.places, states.bits)} if states else {}
    return queues | {name: fifo(1, 1, initial=1) for name in plan.words_out}


def build_unit(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach a unit in the open block; raise UserError where it has no wires."""
    if plan.kind not in BUILDS:
        known = ", ".join(BUILDS)
        raise UserError(f"unit {plan.unit.name}: no wires for {plan.kind}; there are {known}")
    BUILDS[plan.kind](plan, into, queues)
