"""Build the memory of the embedding: a row of the table, in beats, from a ROM on chip.

The token comes with the first beat of the row and is kept for the others. A word of the ROM is a
beat; row after row of beats lies the vocabulary, so that beat and token together are the address.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyrtl

from cosim.design.kinds import OUTPUT_STAGES, STAGES
from cosim.design.rows import lay_rows
from cosim.ir.errors import InternalError, UserError
from rtl.numerics import Wire
from rtl.pipe import delayed
from rtl.streams import Stream
from rtl.units.fifo import Fifo, ring
from rtl.units.plan import UnitPlan
from rtl.units.runs import runs_of, schedule_of
from rtl.units.shell import Control, attach

LATENCY = STAGES["embed"] + OUTPUT_STAGES


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach the unit's actor in the open block; raise UserError for what has no wires yet."""
    if len(plan.jobs) != 1 or plan.folded.design.places["embedding"] != "chip":
        where = plan.folded.design.places["embedding"]
        raise UserError(
            f"unit {plan.unit.name}: {len(plan.jobs)} embeddings, on {where}; wires are built for "
            "one that is on chip: choose places with the embedding on chip"
        )
    (job,) = plan.jobs
    flow, lanes = job.flow, plan.unit.lanes
    (node,) = flow.task.nodes
    steps = -(-flow.task.span // lanes)
    rows = lay_rows(steps, {f.name: np.ones(steps, np.int64) for f in job.into},
                    flow.emissions(lanes))  # fmt: skip
    if rows.is_step.size != steps:
        raise InternalError(f"{flow.task.name}: {rows.is_step.size} rows for {steps} beats")
    opens = np.zeros(steps, bool)
    opens[0] = True
    runs = runs_of(rows.pops, rows.pushes, {"opens": opens}, LATENCY)
    words = _words(plan, node, job.flow.stream.emission(node), lanes)
    (token_fifo,) = job.into
    bits = max(f.width_bits for f in job.out)

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        fresh = beats[token_fifo.name]
        kept = pyrtl.Register(len(fresh))
        token = pyrtl.select(control.marks["opens"], fresh, kept)
        kept.next <<= token
        row, _ = ring(steps, control.fire)
        at = pyrtl.concat(row, token) if steps > 1 else token
        flat = [0] * (len(words) << len(fresh))
        for number, own in enumerate(words):
            flat[number << len(fresh) : (number << len(fresh)) + len(own)] = own
        rom = pyrtl.RomBlock(
            bits, len(at), flat, "embedding", asynchronous=True, pad_with_zeros=True
        )
        # The register behind the look-up is its only stage; the FIFO is the register behind.
        word = delayed(rom[at], LATENCY - OUTPUT_STAGES)
        return dict.fromkeys(queues, word)

    attach(schedule_of(plan, {flow.task.name: runs}), into, queues, datapath)


def _words(plan: UnitPlan, node: str, emitted: np.ndarray, lanes: int) -> list[list[int]]:
    """Return for each beat of a row the word of every token."""
    (table,) = plan.folded.constants(node, 1)
    bits = plan.folded.skeleton.sketch.types[node].dtype.bits
    beat = min(lanes, emitted.size)
    found = []
    for start in range(0, emitted.size, beat):
        own = table[:, emitted[start : start + beat]] & ((1 << bits) - 1)
        found.append([sum(v << (k * bits) for k, v in enumerate(r)) for r in own.tolist()])
    return found
