"""Build a Hadamard unit: blocks of base * 2^k elements are rotated as they stream through.

Where rows of `lanes` elements fit the blocks, they go through `rtl/units/rotation.py`, or, where
they hold whole blocks, through the operator as it is. Where neither is so (lanes that do not divide
a block, beats that come in slower than they leave), a block is gathered in registers and rotated as
a whole with its last row; its beats then leave from a register that holds them all: more adders,
the same times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyrtl

from cosim.design.kinds import OUTPUT_STAGES, STAGES, tree_stages
from cosim.ir.errors import InternalError, UserError
from cosim.ir.types import TensorType, smallest_type
from cosim.ops import Hadamard
from cosim.ops.hadamard import split_order
from rtl.numerics import Int, Wire, bounded, constant, to_bits
from rtl.ops import hadamard as operator
from rtl.ops.lanes import lanes as array
from rtl.pipe import Pipe
from rtl.streams import Stream
from rtl.units.fetch import Fetch, choose
from rtl.units.fifo import Fifo
from rtl.units.passing import Counters, Passing
from rtl.units.plan import UnitPlan
from rtl.units.rotation import Rotation, Shape
from rtl.units.runs import schedule_of
from rtl.units.shell import Control, attach


def stages(order: int) -> int:
    """Return the cycles from the row that completes a block to its first beat."""
    base, power = split_order(order)
    return STAGES["hadamard"] * (tree_stages(power) + tree_stages(base)) + OUTPUT_STAGES


def build(plan: UnitPlan, into: Mapping[str, Stream], queues: Mapping[str, Fifo]) -> None:
    """Attach the unit's actor in the open block.

    Raise UserError where lanes and blocks do not fit each other.
    """
    passings = [Passing(plan, job) for job in plan.jobs]
    shapes = [Shape.of(p) for p in passings]
    for p, s in zip(passings, shapes, strict=True):
        _check(p, s)
    schedule = schedule_of(
        plan,
        {
            p.job.task.name: p.runs(n, stages(s.order))
            for n, (p, s) in enumerate(zip(passings, shapes, strict=True))
        },
    )

    def datapath(control: Control, beats: Mapping[str, Wire]) -> Mapping[str, Wire]:
        counters = Counters(control, [p.steps for p in passings])
        fetch = Fetch(control, beats, counters.job, counters.step)
        found: dict[str, Wire] = {}
        for shape in dict.fromkeys(shapes):
            own = [s == shape for s in shapes]
            needs = [p.need() if o else None for p, o in zip(passings, own, strict=True)]
            values = fetch.lanes(needs)[: shape.width]
            if shape.is_gathered:
                values = _gathered(shape, passings, own, counters, fetch, values)
            elif shape.width % shape.order == 0:
                values = _whole(shape, [p for p, o in zip(passings, own, strict=True) if o], values)
            else:
                values = Rotation(shape, passings, own, counters).rotated(values)
            for p, mine in zip(passings, own, strict=True):
                found.update(_given(p, shape, values) if mine else {})
        return found

    attach(schedule, into, queues, datapath)


def _check(p: Passing, shape: Shape) -> None:
    if shape.is_gathered and p.job.task.span != shape.order and shape.order % shape.width:
        raise UserError(
            f"node {p.job.task.nodes[0]!r}: blocks of {shape.order} begin in the middle of rows of "
            f"{shape.width} lanes; give unit {p.plan.unit.name} lanes that divide {shape.order}"
        )


def _given(p: Passing, shape: Shape, values: Sequence[Int]) -> Mapping[str, Wire]:
    """Return the beats of a job's FIFOs."""
    want = stages(shape.order) - 1
    if any(x.at not in {want, None} for x in values):
        raise InternalError(f"results of stage {values[0].at}, not {want}")
    found: dict[str, Wire] = {}
    for fifo in p.job.out:
        narrow = [bounded(x, p.out.lo, p.out.hi) for x in values[: fifo.beat]]
        found[fifo.name] = pyrtl.concat_list([to_bits(x, p.out.dtype) for x in narrow])
    return found


def _whole(shape: Shape, own: Sequence[Passing], values: Sequence[Int]) -> list[Int]:
    """Rotate all blocks that values hold."""
    lo, hi = min(p.out.lo for p in own), max(p.out.hi for p in own)
    like = TensorType(smallest_type(lo, hi), (len(values),), lo, hi)
    return list(operator.wires(Hadamard(shape.order), [array(values, like.shape)], like, Pipe()))


def _gathered(
    shape: Shape,
    passings: Sequence[Passing],
    own: Sequence[bool],
    counters: Counters,
    fetch: Fetch,
    values: Sequence[Int],
) -> list[Int]:
    """Gather a block, rotate it as a whole, let its rows out in turn."""
    rows = shape.rows
    turn = fetch.look_up([[s % rows for s in range(p.steps)] for p in passings])
    gathered: list[Int] = []
    for row in range(rows - 1):
        for x in values:
            kept = pyrtl.Register(x.bits)
            kept.next <<= pyrtl.select(counters.steps & (turn == row), x.wire, kept)
            gathered.append(Int(kept, x.lo, x.hi, 0))
    block = [*gathered, *values][: shape.order]
    done = _whole(shape, [p for p, o in zip(passings, own, strict=True) if o], block)
    stage = stages(shape.order) - 1
    mine = counters.by_job([int(o) for o in own], 0).wire
    closes = mine & counters.steps & (turn == rows - 1)
    bits = max(1, rows.bit_length())
    beat = pyrtl.Register(bits, reset_value=0)
    number = pyrtl.select(closes, pyrtl.Const(0, bits), beat)
    beat.next <<= pyrtl.select(mine & counters.emits, (number + 1).truncate(bits), beat)
    index, now = counters.later(number, stage), counters.later(closes, stage, 0)
    done += [constant(0)] * (rows * shape.width - shape.order)
    lo, hi = min(x.lo for x in done), max(x.hi for x in done)
    found = []
    for lane in range(shape.width):
        options = [bounded(x, lo, hi).wire for x in done[lane :: shape.width]]
        held = [options[0]]
        for wire in options[1:]:
            kept = pyrtl.Register(len(wire))
            kept.next <<= pyrtl.select(now, wire, kept)
            held.append(kept)
        found.append(Int(choose(index, held), lo, hi, stage))
    return found
