"""Make a unit a block: streams in, what its kind builds, and its FIFOs behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from cosim.design.kinds import Kind
from cosim.design.sketch import STAR
from cosim.ir.errors import InternalError
from rtl.names import Names
from rtl.netlist import Block, building
from rtl.streams import Stream, drive, given, taken
from rtl.units import matrix
from rtl.units.fifo import Fifo, fifo
from rtl.units.plan import UnitPlan

# From the plan, the streams popped and the FIFOs pushed, all by name, to wires of the open block.
Build = Callable[[UnitPlan, Mapping[str, Stream], Mapping[str, Fifo]], None]
BUILDS: Mapping[Kind, Build] = {"matrix": matrix.build}


def unit_block(plan: UnitPlan, extra: Mapping[str, int] | None = None) -> Block:
    """Build a unit as a block of its own; its FIFOs stand behind it, in the same block.

    `extra` are streams that come in besides, with their bits: weights, states. The streams are
    called as `unit_ports` says.
    """
    if plan.kind not in BUILDS:
        raise InternalError(f"unit {plan.unit.name}: no wires for {plan.kind}")
    with building() as block:
        widths = {f.name: f.width_bits for f in plan.into} | dict(extra or {})
        ports = unit_ports(plan, extra)
        into = {name: taken(ports[name], bits) for name, bits in widths.items()}
        queues = {f.name: fifo(f.depth, f.width_bits) for f in plan.out}
        BUILDS[plan.kind](plan, into, queues)
        for f in plan.out:
            queue, out = queues[f.name], given(ports[f.name], f.width_bits)
            drive(queue.pop, queue.valid & out.ready)
            drive(out.valid, queue.valid)
            drive(out.data, queue.data)
    return block


def unit_ports(plan: UnitPlan, extra: Iterable[str] | None = None) -> dict[str, str]:
    """Return what each stream of a unit's block is called in Verilog, by the name of its FIFO."""
    names = Names("unit")
    streams = [f.name for f in (*plan.into, *plan.out)] + list(extra or ())
    for name in streams:
        names.add(name, re.sub(r"[^A-Za-z0-9]+", "_", name.replace(STAR, "")))
    return {name: names[name] for name in streams}
