"""Build a vector unit: a chain of elementwise operators, tables, group scales and arg-max."""

from __future__ import annotations

from collections.abc import Mapping

from rtl.numerics import Wire
from rtl.streams import Stream
from rtl.units.chain import Chain
from rtl.units.fifo import Fifo
from rtl.units.plan import UnitPlan
from rtl.units.rows import Walk, laid, schedule_of
from rtl.units.shell import Control, attach
from rtl.units.stages import latency_of


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach a vector unit in the working block; raise UserError where it cannot be built."""
    own, latency = laid(plan), latency_of(plan)

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        return Chain(plan, Walk(own, control), beats).pushes(latency)

    attach(schedule_of(own, latency), into, queues, datapath)
