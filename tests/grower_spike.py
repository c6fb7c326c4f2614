"""Grow spikes: counts sent over time steps, products of spikes, and neurons that leak and fire."""

from cosim.ir.types import TensorType, i
from cosim.ops import Add, Fire, GroupScale, Leak, Mul, SpikeEncode, SpikeLinear
from cosim.ops.spike_encode import CODINGS, RATE, steps_for
from tests.grower import MOST_SIZE
from tests.grower_shift import ShiftGrower

MOST_STEPS = 12


class SpikeGrower(ShiftGrower):
    """Add them to a graph."""

    def grow_spikes(self) -> None:
        """Encode a vector in a coding that holds it, and multiply the spikes by a matrix."""
        a = self.pick(lambda t: len(t.shape) == 1 and t.size <= MOST_SIZE)
        if a is None:
            return
        t, coding = self.type(a), CODINGS[self.integer(0, len(CODINGS) - 1)]
        steps = steps_for(coding, t.lo, t.hi)
        if steps is None or steps > MOST_STEPS:
            return
        order = coding not in RATE and bool(self.integer(0, 1))
        spikes = self.put(SpikeEncode(coding, steps, order), a)
        group, rows, act_group = self.integer(1, t.size), self.integer(1, 5), self.integer(0, 3)
        w, m = (
            self.constant(-8, 7, (rows, t.size)),
            self.constant(1, 9, (rows, -(-t.size // group))),
        )
        codes = self.put(GroupScale(act_group, 8, 1), a) if act_group else None
        if spikes is not None:
            scaled = (act_group, 1) if codes else (0, 0)
            op = SpikeLinear(coding, steps, order, group, *scaled)
            self.add(op, spikes, w, m, *([codes] if codes else []))

    def grow_neuron(self) -> None:
        """Keep a potential that leaks, takes an input, fires and is reset to 0."""
        x = self.pick(lambda t: len(t.shape) == 1 and t.dtype.bits <= 24)
        if x is None:
            return
        wide, size = i(self.integer(6, 26)), self.type(x).shape
        v = self.b.state(self.fresh("v"), TensorType.full(wide, size))
        stem = self.fresh("neuron")
        kept = self.b.add(f"{stem}.leak", Leak(4, wide), v, self.constant(0, 16, (1,)))
        risen = self.b.add(f"{stem}.in", Add(wide), kept, x)
        theta = self.constant(0, 60, (1,))
        strict, signed = bool(self.integer(0, 1)), bool(self.integer(0, 1))
        if strict or not signed:
            self.add(Fire(">" if strict else ">=", signed), risen, theta)
        rest = self.b.add(f"{stem}.rest", Fire("<=" if strict else "<"), risen, theta)
        zero = self.constant(0, 0, (1,))
        self.b.update(v, self.b.add(f"{stem}.reset", Mul(wide), risen, rest, zero))
