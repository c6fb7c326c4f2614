"""Build the memory of the embedding: a row of the table, in beats, from a ROM or from off chip.

The token comes with the first beat of the row and is kept for the others. A word of the ROM is a
beat; row after row of beats lies the vocabulary, so that beat and token together are the address.

Off chip, each firing asks for a beat by its address, the token's row (a power of two of words) and
the beat in it, when there is a place for the answer. Answers come in order, whenever the memory
gives them, and are always taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyrtl

from cosim.design.kinds import OUTPUT_STAGES, STAGES
from cosim.design.rows import Rows, lay_rows
from cosim.ir.errors import InternalError, UserError
from rtl.names import legal
from rtl.numerics import Wire
from rtl.pipe import delayed
from rtl.streams import Stream, drive, given
from rtl.units.fifo import Fifo, ring
from rtl.units.plan import UnitPlan
from rtl.units.runs import runs_of, schedule_of
from rtl.units.shell import Control, attach, follow

LATENCY = STAGES["embed"] + OUTPUT_STAGES
# Where the embedding is off chip: the addresses that go out, and the beats of rows that come in.
ASK, ROW = "embedding.ask", "embedding.row"
# A memory answers in the cycle after it was asked at the earliest; the FIFO is the cycle behind.
LEAST_LATENCY = 2


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach the unit's actor in the open block; raise UserError for what has no wires yet."""
    if len(plan.jobs) != 1:
        raise UserError(
            f"unit {plan.unit.name}: {len(plan.jobs)} embeddings; wires are built for one"
        )
    if fetched_bits(plan):
        _fetch(plan, into, queues)
        return
    (job,) = plan.jobs
    rows, steps = _rows(plan), steps_of(plan)
    opens = np.zeros(steps, bool)
    opens[0] = True
    runs = runs_of(rows.pops, rows.pushes, {"opens": opens}, LATENCY)
    words = _words(plan)
    (token_fifo,) = job.into
    bits = max(f.width_bits for f in job.out)

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        fresh = beats[token_fifo.name]
        token, row = _token(control, fresh), ring(steps, control.fire)[0]
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

    attach(schedule_of(plan, {job.task.name: runs}), into, queues, datapath)


def fetched_bits(plan: UnitPlan) -> int:
    """Return the bits of a beat of rows that come from off chip; 0: from no such memory."""
    if plan.kind != "memory" or plan.folded.design.places["embedding"] == "chip":
        return 0
    return max(f.width_bits for f in plan.out)


def asked_bits(plan: UnitPlan) -> int:
    """Return the bits of an address."""
    (token,) = plan.into
    return token.width_bits + _beat_bits(plan)


def steps_of(plan: UnitPlan) -> int:
    """Return the beats of a row."""
    return -(-plan.jobs[0].task.span // plan.unit.lanes)


def memory_words(plan: UnitPlan) -> list[int]:
    """Return the words that a memory off chip holds, by address; those of no beat are 0."""
    beats = _words(plan)
    found = [0] * (len(beats[0]) << _beat_bits(plan))
    for number, own in enumerate(beats):
        found[number :: 1 << _beat_bits(plan)] = own
    return found


def _fetch(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach an actor that asks a memory off chip for rows, and takes its answers."""
    (job,) = plan.jobs
    (token_fifo,) = job.into
    if ROW not in into:
        raise UserError(
            f"unit {plan.unit.name}: its embedding is off chip, but no stream brings rows; keep "
            "the embedding on chip"
        )
    rows, steps, beat_bits = _rows(plan), steps_of(plan), _beat_bits(plan)
    opens = np.zeros(steps, bool)
    opens[0] = True
    pushes = {**rows.pushes, ASK: np.ones(steps, bool)}
    # Answers are pushed when they come; what a schedule says of latency is of the asking.
    schedule = schedule_of(plan, {job.task.name: runs_of(rows.pops, pushes, {"opens": opens}, 1)})
    port = given(legal(ASK), asked_bits(plan))
    places = {n: q.has_place for n, q in queues.items()} | {ASK: port.ready}
    control = follow(schedule, {token_fifo.name: into[token_fifo.name].valid}, places, (ASK,))
    token = _token(control, into[token_fifo.name].data)
    asked, _ = ring(steps, control.fire)
    drive(port.data, pyrtl.concat(token, asked) if beat_bits else token)
    drive(port.valid, control.offers[ASK])
    drive(into[token_fifo.name].ready, control.pops[token_fifo.name])
    row = into[ROW]
    drive(row.ready, pyrtl.Const(1, 1))
    came, _ = ring(steps, row.valid)
    for name, queue in queues.items():
        drive(queue.reserve, control.reserves[name])
        drive(queue.push, row.valid & _carried(rows.pushes[name], came))
        drive(queue.beat, row.data)


def _carried(flags: np.ndarray, row: Wire) -> Wire:
    """Return the flag of a row."""
    if flags.all():
        return pyrtl.Const(1, 1)
    rom = pyrtl.RomBlock(
        1, len(row), flags.astype(int).tolist(), "carried", asynchronous=True, pad_with_zeros=True
    )
    return rom[row]


def _token(control: Control, fresh: Wire) -> Wire:
    """Return the token of a firing: the one that it pops, or the one that the row began with."""
    kept = pyrtl.Register(len(fresh))
    token = pyrtl.select(control.marks["opens"], fresh, kept)
    kept.next <<= token
    return token


def _rows(plan: UnitPlan) -> Rows:
    """Lay the rows of the one job: a firing for each beat of the embedding's row."""
    (job,) = plan.jobs
    steps = steps_of(plan)
    rows = lay_rows(steps, {f.name: np.ones(steps, np.int64) for f in job.into},
                    job.flow.emissions(plan.unit.lanes))  # fmt: skip
    if rows.is_step.size != steps:
        raise InternalError(f"{job.task.name}: {rows.is_step.size} rows for {steps} beats")
    return rows


def _beat_bits(plan: UnitPlan) -> int:
    return (steps_of(plan) - 1).bit_length()


def _words(plan: UnitPlan) -> list[list[int]]:
    """Return for each beat of a row the word of every token."""
    (job,) = plan.jobs
    (node,) = job.task.nodes
    emitted, lanes = job.flow.stream.emission(node), plan.unit.lanes
    (table,) = plan.folded.constants(node, 1)
    bits = plan.folded.skeleton.sketch.types[node].dtype.bits
    beat = min(lanes, emitted.size)
    found = []
    for start in range(0, emitted.size, beat):
        own = table[:, emitted[start : start + beat]] & ((1 << bits) - 1)
        found.append([sum(v << (k * bits) for k, v in enumerate(r)) for r in own.tolist()])
    return found
