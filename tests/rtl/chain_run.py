"""Run a vector unit's block on symbols: all beats at hand, all outputs taken, for some tokens."""

from collections.abc import Iterator
from unittest import mock

import numpy as np

from rtl.numerics import Int
from rtl.terms import Term, Terms, Value
from rtl.units import vector
from rtl.units.chain import Chain
from rtl.units.plan import UnitPlan
from rtl.units.unit import unit_block, unit_ports
from rtl.unroll import Unrolled

TOKENS = 2
# A chain that gives and takes nothing for so many cycles is done: no pipeline is as long.
IDLE_CYCLES = 80
# An element of a root in one turn of one token: token, turn, root, number.
Element = tuple[int, int, str, int]


class ChainRun:
    """Hold the block of a vector unit as it is built, and the chain that built it."""

    def __init__(self, plan: UnitPlan) -> None:
        """Build the block, and keep hold of the chain."""
        self.plan = plan
        seen: list[Chain] = []

        class Seen(Chain):
            def __init__(self, *args, **named):
                super().__init__(*args, **named)
                seen.append(self)

        with mock.patch.object(vector, "Chain", Seen):
            self.block = unit_block(plan)
        (self.chain,) = seen
        self.own = self.chain.own
        self.terms = Terms()

    def fired(self) -> dict[int, int]:
        """Return the number of each firing by its cycle: control alone, before any step."""
        fired: dict[int, int] = {}
        wire = self.chain.walk.control.fire.name
        for state in self.cycles({}):
            if state.known(state.value[wire], "a firing"):
                fired[state.cycle] = len(fired)
        assert len(fired) == TOKENS * self.own.turns * self.own.count
        return fired

    def cycles(self, taps, now: list[int] | None = None) -> Iterator[Unrolled]:
        state = Unrolled(self.block, self.terms, taps)
        ports = unit_ports(self.plan)
        left = {f: self.beats(f) for f in self.own.job.into}
        idle = 0
        while idle < IDLE_CYCLES:
            inputs: dict[str, Value] = {f"{ports[f.name]}_ready": 1 for f in self.own.job.out}
            for f, words in left.items():
                inputs[f"{ports[f.name]}_valid"] = int(bool(words))
                inputs[f"{ports[f.name]}_data"] = words[0] if words else 0
            if now is not None:
                now[0] = state.cycle
            state.settle(inputs)
            yield state
            idle += 1
            for f, words in left.items():
                if words and state.known(state.value[f"{ports[f.name]}_ready"], f.name):
                    words.pop(0)
                    idle = 0
            state.tick()

    def beats(self, fifo) -> list[Value]:
        """Return the beats of a FIFO that comes in, as variables, each filling its own too."""
        found: list[Value] = []
        emitted = self.emitted(fifo)
        dtype = self.plan.folded.type(fifo.value).dtype
        for token in range(TOKENS):
            for turn in range(self.own.turns):
                for elements in emitted:
                    parts: list[tuple[Value, int]] = [
                        (self.variable((token, turn, fifo.value, e), dtype.bits), dtype.bits)
                        for e in elements
                    ]
                    rest = fifo.beat - len(elements)
                    if rest:
                        name = f"unknown {fifo.name} {token} {turn} {len(found)}"
                        bits = rest * dtype.bits
                        parts.append((self.terms.variable(name, bits), bits))
                    found.append(self.terms.concat(parts[::-1]))
        return found

    def emitted(self, fifo) -> list[list[int]]:
        skeleton = self.plan.folded.skeleton
        maker = skeleton.task(fifo.maker)
        emitted = type(self.chain.stream).of(skeleton, maker).emission(fifo.value).tolist()
        carried = np.flatnonzero(self.own.job.flow.passage(fifo).carried(fifo.beat))
        return [emitted[n * fifo.beat : (n + 1) * fifo.beat] for n in carried]

    def variable(self, element: Element, bits: int) -> Term:
        token, turn, root, number = element
        return self.terms.variable(f"{token}|{turn}|{root}|{number}", bits)

    def stands_for(self, element: Element, held: Int) -> Value:
        """Return the wire of a value that is now known to be an element."""
        dtype = self.plan.folded.type(element[2]).dtype
        whole = self.variable(element, dtype.bits)
        top = dtype.bits - 1
        if held.bits > dtype.bits and not dtype.signed:
            pad = held.bits - dtype.bits
            return self.terms.concat([(0, pad), (whole, dtype.bits)])
        bits = [min(k, top) for k in range(held.bits)]
        return self.terms.select(whole, bits, dtype.bits)
