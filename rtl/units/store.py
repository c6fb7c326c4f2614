"""Keep the beats of a stream for the rows that need their elements: the operand store.

Where each row takes its elements from the beat that comes with it, this is wires only. Else the
beats stay in registers, or in a memory where they are many, as long as a later row needs them; each
lane then has a multiplexer with only the choices that occur. A beat that comes in this very cycle
goes past the registers.

Glossary:
    age    how many beats have come since: 0 is the latest one, this row's included
    slot   a place of its own: beat b is kept in slot b mod `depth`, until no row needs it
    port   a read port of a memory of slots
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyrtl

from cosim.ir.errors import InternalError
from rtl.numerics import Int, Wire, bounded, constant
from rtl.units.rows import Walk

# Above this many bits, beats that are kept stand in a memory if its ports suffice.
MOST_REGISTER_BITS = 4096
MOST_PORTS = 2
Key = tuple[int, int]


@dataclass(eq=False)
class Source:
    """Hold a stream of beats: this row's elements, and the row with which each beat comes."""

    walk: Walk
    words: Sequence[Int]
    arrives: Wire
    rows: np.ndarray
    stage: int

    def __post_init__(self) -> None:
        """Begin without registers."""
        self._aged: dict[Key, tuple[Int, Wire]] = {}
        self._slots: dict[tuple[int, int, int], Int] = {}

    @cached_property
    def always(self) -> bool:
        """Tell whether each row has a beat."""
        return self.rows.size == self.walk.own.count

    @cached_property
    def latest(self) -> np.ndarray:
        """Return for each row the number of the latest beat; -1: none yet."""
        return np.searchsorted(self.rows, np.arange(self.walk.own.count), side="right") - 1

    def aged(self, age: int, place: int) -> Int:
        """Return the element at a place of the beat of an age."""
        word = self.words[place]
        if age == 0 and self.always:
            return word
        return self._register(age, place)[0]

    def _register(self, age: int, place: int) -> tuple[Int, Wire]:
        """Return an element of some age in this row, and the register that keeps it."""
        key = (age, place)
        if key not in self._aged:
            word = self.words[place]
            younger = word.wire if age == 0 else self._register(age - 1, place)[1]
            kept = pyrtl.Register(word.bits)
            now = pyrtl.select(self.arrives, younger, kept)
            kept.next <<= now
            self._aged[key] = Int(now, word.lo, word.hi, self.stage), kept
        return self._aged[key]

    def slot(self, depth: int, number: int, place: int) -> Int:
        """Return the element at a place of the beat in a slot."""
        key = (depth, number, place)
        if key not in self._slots:
            word = self.words[place]
            written = self._slot_of_row(depth)
            hit = self.arrives
            if depth > 1:
                hit = hit & (written.wire == number)
            kept = pyrtl.Register(word.bits)
            now = pyrtl.select(hit, word.wire, kept)
            kept.next <<= now
            self._slots[key] = Int(now, word.lo, word.hi, self.stage)
        return self._slots[key]

    def _slot_of_row(self, depth: int) -> Int:
        return self.walk.by_row(np.maximum(self.latest, 0) % depth, None, self.stage)

    def ports(self, depth: int, slots: np.ndarray) -> list[list[Int]]:
        """Return for each port its whole beat; `slots` is [rows, ports], -1: not read."""
        widths = [w.bits for w in self.words]
        memory = pyrtl.MemBlock(
            sum(widths), max(1, (depth - 1).bit_length()), "kept", asynchronous=True
        )
        address = _wide(self._slot_of_row(depth), memory.addrwidth)
        beat = pyrtl.concat_list([w.wire for w in self.words])
        memory[address] <<= pyrtl.MemBlock.EnabledWrite(beat, self.arrives)
        found = []
        for column in slots.T:
            at = self.walk.by_row(np.maximum(column, 0), column >= 0, self.stage)
            read = pyrtl.WireVector(sum(widths))
            read <<= memory[_wide(at, memory.addrwidth)]
            low, beat_read = 0, []
            for word in self.words:
                wire = read[low : low + word.bits]
                beat_read.append(Int(wire, word.lo, word.hi, self.stage))
                low += word.bits
            found.append(beat_read)
        return found


def gather(source: Source, beat: np.ndarray, place: np.ndarray) -> list[Int]:
    """Return for each lane the element at `place[row]` of beat `beat[row]`; -1: any will do.

    Raise InternalError where a beat is needed before it has come.
    """
    there = beat >= 0
    age = np.where(there, source.latest[:, None] - beat, 0)
    if age.min() < 0:
        raise InternalError("a row needs a beat that comes later")
    depth = _depth(source, beat)
    own = np.stack([age, place], axis=-1)
    slots = np.stack([np.where(there, beat % depth, 0), place], axis=-1)
    bits = max(w.bits for w in source.words)
    by_age = _cost(own, there, bits) + _kept(own, there, bits, source.always)
    by_slot = _cost(slots, there, bits) + _kept(slots, there, bits, False)
    read = _port_slots(source, beat, depth)
    much = min(by_age, by_slot) > MOST_REGISTER_BITS
    if age.max() > 0 and read.shape[1] <= MOST_PORTS and much:
        return _from_memory(source, beat, place, depth, read)
    if by_age <= by_slot:
        return choose(source.walk, own, there, source.stage, lambda k: source.aged(*k))
    return choose(source.walk, slots, there, source.stage, lambda k: source.slot(depth, *k))


def choose(
    walk: Walk, keys: np.ndarray, there: np.ndarray, stage: int, find: Callable[[Key], Int]
) -> list[Int]:
    """Return for each lane what its key says in each row; keys are [rows, lanes, 2]."""
    made: dict[bytes, tuple[list[Key], np.ndarray, np.ndarray]] = {}
    names = []
    for lane in range(keys.shape[1]):
        mask = there[:, lane]
        own = np.where(mask[:, None], keys[:, lane], -1)
        name = own.tobytes()
        names.append(name)
        if name not in made:
            listed: list[Key] = [(int(a), int(b)) for a, b in own[mask]]
            choices = list(dict.fromkeys(listed))
            number = {k: n for n, k in enumerate(choices)}
            numbers = np.zeros(mask.size, np.int64)
            numbers[mask] = [number[k] for k in listed]
            made[name] = choices, numbers, mask
    indices = walk.tables(
        [np.broadcast_to(n, (walk.own.turns, n.size)) for _, n, _ in made.values()],
        [np.broadcast_to(m, (walk.own.turns, m.size)) for _, _, m in made.values()],
        stage,
    )
    chosen = {}
    for (name, (choices, _, _)), index in zip(made.items(), indices, strict=True):
        if not choices:
            chosen[name] = constant(0)
        else:
            chosen[name] = mux(index, [find(k) for k in choices])
    return [chosen[name] for name in names]


def mux(index: Int, values: Sequence[Int]) -> Int:
    """Return the value of an index."""
    if len(values) == 1:
        return values[0]
    lo, hi = min(v.lo for v in values), max(v.hi for v in values)
    level = [bounded(v, lo, hi).wire for v in values]
    for k in range(index.bits):
        bit = index.wire[k]
        # What stands alone at the end is never asked for with this bit set.
        level = [
            pyrtl.select(bit, pair[1], pair[0]) if len(pair) == 2 else pair[0]
            for pair in (level[n : n + 2] for n in range(0, len(level), 2))
        ]
    return Int(level[0], lo, hi, index.at)


def _depth(source: Source, beat: np.ndarray) -> int:
    """Return how many slots are enough: no beat is overwritten that a later row needs."""
    far = np.iinfo(np.int64).max
    needed = np.where(beat >= 0, beat, far).min(axis=1, initial=far)
    oldest = np.minimum.accumulate(needed[::-1])[::-1]
    wide = np.where(oldest == far, 1, source.latest - oldest + 1)
    return max(1, int(wide.max()))


def _cost(keys: np.ndarray, there: np.ndarray, bits: int) -> int:
    """Count the bits that the lanes' multiplexers choose among."""
    columns = {np.where(there[:, k, None], keys[:, k], -1).tobytes(): k
               for k in range(keys.shape[1])}  # fmt: skip
    return sum(
        bits * (max(1, len(np.unique(keys[there[:, k], k], axis=0))) - 1) for k in columns.values()
    )


def _kept(keys: np.ndarray, there: np.ndarray, bits: int, always: bool) -> int:
    """Count the bits of the registers."""
    used = np.unique(keys[there], axis=0)
    if always:  # the latest beat needs none; older ones need all between
        ages: dict[int, int] = {}
        for age, place in used.tolist():
            ages[place] = max(ages.get(place, 0), age)
        return bits * sum(ages.values())
    return bits * len(used)


def _port_slots(source: Source, beat: np.ndarray, depth: int) -> np.ndarray:
    """Return [rows, ports]: which slots each row reads, the latest beat aside; -1: none."""
    rows = [
        np.unique(own[(own >= 0) & (own < now)])
        for own, now in zip(beat, source.latest, strict=True)
    ]
    found = np.full((len(rows), max((r.size for r in rows), default=0)), -1, np.int64)
    for n, own in enumerate(rows):
        found[n, : own.size] = own % depth
    return found


def _from_memory(
    source: Source, beat: np.ndarray, place: np.ndarray, depth: int, slots: np.ndarray
) -> list[Int]:
    there = beat >= 0
    ports = source.ports(depth, slots)
    is_latest = beat == source.latest[:, None]
    port = np.argmax(slots[:, None, :] == np.where(there, beat % depth, -2)[:, :, None], axis=-1)
    keys = np.stack([np.where(is_latest, -1, port), place], axis=-1)
    return choose(
        source.walk, keys, there, source.stage,
        lambda k: source.aged(0, k[1]) if k[0] < 0 else ports[k[0]][k[1]],
    )  # fmt: skip


def _wide(x: Int, bits: int) -> Wire:
    return pyrtl.concat(pyrtl.Const(0, bits - x.bits), x.wire) if x.bits < bits else x.wire
