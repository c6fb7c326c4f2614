"""Grow nodes of truncating arithmetic: codes with shifts, step tables, a state of such codes."""

from itertools import accumulate

from cosim.ir.types import TensorType, i, smallest_type
from cosim.ops import (
    Argmax,
    GroupRead,
    GroupShift,
    MulShift,
    Push,
    Quantize,
    RmsTable,
    ShiftDecay,
    ShiftFir,
    Spread,
    StepTable,
    Transpose,
    Truncate,
    Turn,
)
from tests.grower import MOST_SIZE, Grower


class ShiftGrower(Grower):
    """Add them to a graph."""

    def codes(self) -> tuple[str, str] | None:
        """Quantise a value by group shifts; return codes and a shift for every element."""
        a = self.pick(lambda t: len(t.shape) > 0 and t.peak < 1 << 40 and t.size <= MOST_SIZE)
        if a is None:
            return None
        k = self.type(a).shape[-1]
        group, bits = self.integer(1, k + 2), self.integer(2, 8)
        shifts = self.put(GroupShift(group, bits, self.integer(0, 9)), a)
        q = self.put(Quantize(group, i(bits)), a, shifts) if shifts else None
        spread = self.put(Spread(group, k), shifts) if q and shifts else None
        return (q, spread) if q and spread else None

    def grow_mul_shift(self) -> None:
        found = self.codes()
        if found is None:
            return
        q, s = found
        shape = self.type(q).shape
        b = self.pick(lambda t: t.shape == shape and t.dtype.bits <= 16) or q
        t = self.constant(0, self.integer(0, 5), self.shape_for(shape))
        if self.integer(0, 1) and len(shape) > 1:
            self.add(GroupRead(self.integer(1, 4), 8, self.integer(0, 9)), q, b, t)
        else:
            self.add(MulShift(self.integer(0, 9), self.dtype()), q, b, s, t)

    def grow_shift_window(self) -> None:
        """Keep windows of codes and of their shifts, and filter over both."""
        found = self.codes()
        if found is None or len(self.type(found[0]).shape) != 1:
            return
        k, size, group = self.integer(1, 5), self.type(found[0]).size, self.integer(1, 5)
        pushed = []
        for value in found:
            window = self.b.state(
                self.fresh("window"), TensorType.full(self.type(value).dtype, (k, size))
            )
            pushed.append(self.b.add(self.fresh("push"), Push(), window, value))
            self.b.update(window, pushed[-1])
        groups = -(-size // group)
        constants = [
            self.constant(lo, hi, shape)
            for lo, hi, shape in (
                (-128, 127, (k, size)),
                (0, 3, (k, groups)),
                (-128, 127, (size,)),
                (0, 9, (groups,)),
            )
        ]
        self.add(ShiftFir(group), *pushed, *constants)

    def grow_truncate(self) -> None:
        a = self.pick(lambda t: True)
        if a is not None:
            self.add(Truncate(self.integer(0, 9), self.dtype()), a)

    def grow_turn(self) -> None:
        """Turn by a value that counts: the number of the largest element."""
        a = self.vector()
        position = self.put(Argmax(), a) if a else None
        if position is not None:
            steps = self.constant(0, (1 << 32) - 1, (self.integer(1, 4),))
            wave = self.integer(0, 16)
            tables = [self.constant(0, 1 << wave, (257,)) for _ in range(2)]
            self.put(Turn(wave, self.integer(0, wave)), position, steps, *tables)

    def grow_transpose(self) -> None:
        a = self.pick(lambda t: True)
        if a is not None:
            order = self.rng.permutation(len(self.type(a).shape)).tolist()
            self.add(Transpose(tuple(order)), a)

    def grow_step_table(self) -> None:
        a = self.pick(lambda t: True)
        if a is not None:
            step = self.integer(0, 5)
            op = StepTable(self.integer(-300, 100), step, step + self.integer(0, 3))
            shifts = self.constant(0, self.integer(0, 9), (self.integer(1, 4),))
            self.add(op, a, self.constant(-128, 127, (self.integer(1, 30),)), shifts)

    def grow_rms_table(self) -> None:
        a = self.pick(lambda t: len(t.shape) > 0 and t.peak < 1 << 24)
        if a is None:
            return
        count, entries = self.integer(1, 4), self.integer(1, 9)
        starts = tuple(accumulate(self.integer(1, 1 << (4 * k + 4)) for k in range(count)))
        steps, lifts = (tuple(self.integer(0, 8) for _ in range(count)) for _ in range(2))
        op = RmsTable(starts, steps, lifts, self.integer(0, 9), self.integer(0, 9), self.dtype())
        table = self.constant(0, 255, (count, entries))
        self.add(op, a, table, self.constant(-99, 99, self.type(a).shape[-1:]))

    def grow_shifted_state(self) -> None:
        """Keep a state as int8 codes with a shift per group, updated by a decay of few bits."""
        rows, n, group = self.integer(1, 3), self.integer(1, 7), self.integer(1, 4)
        shape, wide = (rows, n), i(self.integer(8, 22))
        rule = GroupShift(group, 8, self.integer(0, 9))
        codes = (rows, -(-n // group))
        q0 = self.b.state(self.fresh("q"), TensorType.full(i(8), shape))
        s0 = self.b.state(
            self.fresh("shifts"), TensorType(smallest_type(0, rule.most), codes, 0, rule.most)
        )
        stem = self.fresh("shifted")
        a = self.constant(0, 127, (rows, 1))
        t = self.constant(0, 2, (1, 1))
        new = self.constant(-900, 900, shape)
        x = self.pick(lambda t: t.shape == shape and t.dtype.bits <= 30)
        op = ShiftDecay(group, 6, wide)
        h = self.b.add(f"{stem}.update", op, q0, s0, a, t, x or new)
        s1 = self.b.add(f"{stem}.shifts", rule, h)
        q1 = self.b.add(f"{stem}.q", Quantize(group, i(8)), h, s1)
        self.b.update(q0, q1)
        self.b.update(s0, s1)
        self.moving += [h, q1]
