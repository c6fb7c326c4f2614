"""Build an actor: a control that follows a schedule, FIFOs behind it, and a datapath between.

In a cycle in which the unit is free, the beats that the next firing pops are there, and the FIFOs
that it pushes have places, it fires: it pops, reserves the places, and lets the data into the
pipeline. The data come out `latency - 1` cycles later and are written to the FIFOs. The times are
those of the timed dataflow (docs/design.md section 5), whatever the gaps and stalls around.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import pyrtl

from rtl.netlist import Block, building
from rtl.numerics import Wire
from rtl.pipe import delayed
from rtl.streams import Stream, drive, given, taken
from rtl.units.fifo import Fifo, fifo
from rtl.units.schedule import Schedule


@dataclass(frozen=True)
class Control:
    """Hold the flags of a firing: in its cycle, and of its pushes `latency - 1` cycles later.

    `offers` are for ports behind which no FIFO stands: the beat is there, whether or not it is
    taken.
    """

    fire: Wire
    pops: Mapping[str, Wire]
    reserves: Mapping[str, Wire]
    pushes: Mapping[str, Wire]
    marks: Mapping[str, Wire]
    loop: Wire
    offers: Mapping[str, Wire]


@dataclass(frozen=True)
class Place:
    """Describe the FIFO behind an output: its width, its places, what is in it at the start."""

    bits: int
    depth: int
    initial: int = 0


# From the control and the beats popped to the beats pushed, each `latency - 1` cycles later.
Datapath = Callable[[Control, Mapping[str, Wire]], Mapping[str, Wire]]


def actor(
    schedule: Schedule, inputs: Mapping[str, int], outputs: Mapping[str, Place], datapath: Datapath
) -> Block:
    """Build a block of one actor: a stream for each input (with its bits) and each output."""
    with building() as block:
        into = {name: taken(name, bits) for name, bits in inputs.items()}
        queues = {name: fifo(p.depth, p.bits, p.initial) for name, p in outputs.items()}
        attach(schedule, into, queues, datapath)
        for name, queue in queues.items():
            out = given(name, outputs[name].bits)
            drive(queue.pop, queue.valid & out.ready)
            drive(out.valid, queue.valid)
            drive(out.data, queue.data)
    return block


def attach(
    schedule: Schedule,
    into: Mapping[str, Stream],
    out: Mapping[str, Fifo],
    datapath: Datapath,
    ports: Mapping[str, Stream] | None = None,
) -> Control:
    """Build an actor between streams and FIFOs of the working block; return its control.

    `ports` are streams that it gives without a FIFO behind: a firing waits until its beat is taken.
    """
    ports = ports or {}
    places = {name: q.has_place for name, q in out.items()}
    places |= {name: s.ready for name, s in ports.items()}
    valid = {name: s.valid for name, s in into.items()}
    control = follow(schedule, valid, places, tuple(ports))
    beats = datapath(control, {name: s.data for name, s in into.items()})
    for name, stream in into.items():
        drive(stream.ready, control.pops[name])
    for name, queue in out.items():
        drive(queue.reserve, control.reserves[name])
        drive(queue.push, control.pushes[name])
        drive(queue.beat, beats[name])
    for name, stream in ports.items():
        drive(stream.valid, control.offers[name])
        drive(stream.data, beats[name])
    return control


def follow(
    schedule: Schedule,
    valid: Mapping[str, Wire],
    places: Mapping[str, Wire],
    ports: Sequence[str] = (),
) -> Control:
    """Build the control that follows a schedule, given who has a beat and who has a place."""
    layout = _Layout(schedule)
    at = pyrtl.Register(layout.at_bits, reset_value=0)
    word = pyrtl.Register(layout.bits, reset_value=layout.words[0])
    left = pyrtl.Register(layout.widths["times"], reset_value=layout.field_of(0, "times"))
    wait = pyrtl.Register(layout.widths["gap"], reset_value=0)
    fields = layout.cut(word)
    ready = [wait == 0]
    ready += [~fields[f"pop {n}"] | valid[n] for n in schedule.pops]
    room = {n: ~fields[f"push {n}"] | places[n] for n in schedule.pushes}
    fire = _all([*ready, *room.values()])
    offers = {
        port: _all([*ready, *(w for n, w in room.items() if n != port), fields[f"push {port}"]])
        for port in ports
    }
    is_last = fire & (left == 0)
    loop, again = _loops(schedule, is_last & fields["closes"])
    following = pyrtl.select(
        fields["ends"], pyrtl.Const(0, layout.at_bits), (at + 1).truncate(layout.at_bits)
    )
    if again is not None:
        body = pyrtl.Const(len(schedule.before), layout.at_bits)
        following = pyrtl.select(fields["closes"] & again, body, following)
    after = layout.read(following)
    at.next <<= pyrtl.select(is_last, following, at)
    word.next <<= pyrtl.select(is_last, after, word)
    fewer = (left - 1).truncate(len(left))
    left.next <<= pyrtl.select(is_last, layout.cut(after)["times"], pyrtl.select(fire, fewer, left))
    gap = _gap(layout, fields, fire, is_last)
    rest = pyrtl.select(wait == 0, wait, (wait - 1).truncate(len(wait)))
    wait.next <<= pyrtl.select(fire, gap, rest)
    latencies = schedule.latencies()
    reserves = {n: fire & fields[f"push {n}"] for n in schedule.pushes}
    return Control(
        fire,
        {n: fire & fields[f"pop {n}"] for n in schedule.pops},
        reserves,
        {n: delayed(flag, latencies[n] - 1, reset=0) for n, flag in reserves.items()},
        {n: fields[f"mark {n}"] for n in schedule.marks()},
        loop,
        offers,
    )


def _all(flags: Sequence[Wire]) -> Wire:
    return reduce(lambda a, b: a & b, flags)


def _loops(schedule: Schedule, body_done: Wire) -> tuple[Wire, Wire | None]:
    """Count the turns of the body; return the count, and the flag that another one follows."""
    if schedule.loops == 1 or not schedule.body:
        return pyrtl.Const(0, 1), None
    bits = (schedule.loops - 1).bit_length()
    loop = pyrtl.Register(bits, reset_value=0)
    again = loop != schedule.loops - 1
    turned = pyrtl.select(again, (loop + 1).truncate(bits), pyrtl.Const(0, bits))
    loop.next <<= pyrtl.select(body_done, turned, loop)
    return loop, again


def _gap(layout: _Layout, fields: Mapping[str, Wire], fire: Wire, is_last: Wire) -> Wire:
    """Return the interval less one; a fraction adds a cycle whenever its phase runs over."""
    gap = fields["gap"]
    if "over" not in fields:
        return gap
    bits = layout.widths["under"] + 1
    phase = pyrtl.Register(bits, reset_value=0)
    moved = (phase + fields["over"]).truncate(bits)
    under = fields["under"].zero_extended(bits)
    runs_over = ~(moved < under)
    kept = pyrtl.select(runs_over, (moved - under).truncate(bits), moved)
    phase.next <<= pyrtl.select(is_last, pyrtl.Const(0, bits), pyrtl.select(fire, kept, phase))
    return (gap + runs_over).truncate(len(gap))


class _Layout:
    """Lay the runs out as words of a table: flags, counts and marks side by side."""

    def __init__(self, schedule: Schedule) -> None:
        runs = schedule.runs
        body_end = len(schedule.before) + len(schedule.body) - 1
        rows: list[dict[str, int]] = []
        marks = schedule.marks()
        for number, (times, kind) in enumerate(runs):
            over, under = kind.interval.numerator, kind.interval.denominator
            row = {"times": times - 1, "gap": over // under - 1}
            row |= {f"pop {n}": int(n in kind.pops) for n in schedule.pops}
            row |= {f"push {n}": int(n in kind.pushes) for n in schedule.pushes}
            row |= {"closes": int(bool(schedule.body) and number == body_end)}
            row |= {"ends": int(number == len(runs) - 1)}
            if any(k.interval.denominator > 1 for _, k in runs):
                row |= {"over": over % under, "under": under}
            own = dict(kind.marks)
            row |= {f"mark {n}": own.get(n, 0) for n in marks}
            rows.append(row)
        self.widths = {
            name: max(1, max(row[name] for row in rows).bit_length()) for name in rows[0]
        }
        if "over" in self.widths:
            # Room for the cycle that a fraction adds.
            self.widths["gap"] = (max(row["gap"] for row in rows) + 1).bit_length()
        self.rows = rows
        self.bits = sum(self.widths.values())
        self.at_bits = max(1, (len(rows) - 1).bit_length())
        self.words = [self._word(row) for row in rows]

    def field_of(self, row: int, name: str) -> int:
        """Return a field of a row."""
        return self.rows[row][name]

    def read(self, at: Wire) -> Wire:
        """Look the word of a run up."""
        if len(self.words) == 1:
            return pyrtl.Const(self.words[0], self.bits)
        table = pyrtl.RomBlock(
            self.bits, self.at_bits, self.words, "runs", asynchronous=True, pad_with_zeros=True
        )
        return table[at]

    def cut(self, word: Wire) -> dict[str, Wire]:
        """Cut a word into its fields."""
        found, low = {}, 0
        for name, bits in self.widths.items():
            found[name] = word[low : low + bits]
            low += bits
        return found

    def _word(self, row: Mapping[str, int]) -> int:
        word, low = 0, 0
        for name, bits in self.widths.items():
            word |= row[name] << low
            low += bits
        return word
