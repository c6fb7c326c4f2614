"""Add random legal nodes to a graph, one operator a method."""

from collections.abc import Callable

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType, i, smallest_type
from cosim.ops import (
    Add,
    Argmax,
    Center,
    Clip,
    Concat,
    Contract,
    Dequantize,
    Embed,
    GroupScale,
    Hadamard,
    Linear,
    Mul,
    Pwl,
    PwlLog,
    Quantize,
    Requant,
    Rescale,
    Reshape,
    RmsNorm,
    Rope,
    Slice,
)
from cosim.ops.pwl_log import segment_count

MOST_SIZE = 60


class Grower:
    """Add random nodes to one graph; `moving` are the values that change from token to token."""

    def __init__(self, rng: np.random.Generator, name: str, inputs: dict[str, TensorType]) -> None:
        self.rng, self.b = rng, GraphBuilder(name)
        self.moving = [self.b.input(n, t) for n, t in inputs.items()]
        self.count = 0
        self.open_states: list[str] = []

    def integer(self, lo: int, hi: int) -> int:
        return int(self.rng.integers(lo, hi, endpoint=True))

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}.{self.count}"

    def type(self, name: str) -> TensorType:
        return self.b.types[name]

    def pick(self, fits: Callable[[TensorType], bool]) -> str | None:
        """Pick a value that fits, late ones more often."""
        found = [n for n in self.moving if fits(self.type(n))]
        if not found:
            return None
        return found[max(self.integer(0, len(found) - 1), self.integer(0, len(found) - 1))]

    def vector(self, least: int = 1) -> str | None:
        return self.pick(lambda t: len(t.shape) == 1 and t.shape[0] >= least)

    def constant(
        self, lo: int, hi: int, shape: tuple[int, ...], dtype: IntType | None = None
    ) -> str:
        """Declare a constant; one in three lies at the ends of its range."""
        data = self.rng.integers(lo, hi, shape, endpoint=True)
        if self.integer(0, 2) == 0:
            data = np.where(self.rng.integers(2, size=shape) == 1, hi, lo)
        return self.b.const(self.fresh("c"), np.asarray(data), dtype or smallest_type(lo, hi))

    def shape_for(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape that broadcasts to the given one."""
        return tuple(1 if self.integer(0, 1) else s for s in shape)

    def dtype(self) -> IntType:
        return IntType(self.integer(2, 20), bool(self.integer(0, 3)))

    def put(self, op: Op, *inputs: str) -> str | None:
        """Add a node unless the builder proves that it could wrap."""
        name = self.fresh(op.name)
        try:
            self.moving.append(self.b.add(name, op, *inputs))
        except UserError:
            return None
        return name

    def add(self, op: Op, *inputs: str) -> str | None:
        """Add a node likewise, and keep its value narrow most of the time."""
        name = self.put(op, *inputs)
        wide = name is not None and self.type(name).dtype.bits > 26
        return self.narrow(name) if wide and self.integer(0, 3) else name

    def narrow(self, name: str, dtype: IntType | None = None) -> str:
        """Requantise to few bits, with a shift that keeps some of the value and saturates some."""
        t, dtype = self.type(name), dtype or i(self.integer(4, 16))
        shift = max(t.peak.bit_length() - dtype.bits - self.integer(0, 3), -3)
        s = self.constant(shift, shift + self.integer(0, 2), self.shape_for(t.shape))
        got = self.fresh("requant")
        self.moving.append(self.b.add(got, Requant(dtype), name, s))
        return got

    # One method per operator; each does nothing where no value fits.

    def grow_add(self) -> None:
        a = self.pick(lambda t: True)
        if a is None:
            return
        shape = self.type(a).shape
        b = self.pick(lambda t: t.shape == shape)
        if self.integer(0, 2) == 0:
            b = self.constant(-300, 300, self.shape_for(shape))
        self.add(Add(self.dtype()), a, b or a)

    def grow_mul(self) -> None:
        a = self.pick(lambda t: True)
        if a is None:
            return
        shape = self.type(a).shape
        b = self.pick(lambda t: t.shape == shape) or a
        s = self.constant(self.integer(-2, 2), self.integer(3, 20), self.shape_for(shape))
        self.add(Mul(self.dtype()), a, b, s)

    def grow_rescale(self) -> None:
        a = self.pick(lambda t: True)
        if a is None:
            return
        shape = self.shape_for(self.type(a).shape)
        m = self.constant(self.integer(-9, 1), self.integer(2, 1 << 15), shape)
        self.add(Rescale(self.dtype()), a, m, self.constant(-1, self.integer(0, 18), shape))

    def grow_clip(self) -> None:
        a = self.pick(lambda t: t.hi > t.lo)
        if a is not None:
            lo, hi = sorted(self.rng.integers(self.type(a).lo, self.type(a).hi, 2).tolist())
            self.add(Clip(lo, hi), a)

    def grow_requant(self) -> None:
        a = self.pick(lambda t: True)
        if a is not None:
            self.narrow(a, self.dtype())

    def grow_center(self) -> None:
        a = self.pick(lambda t: len(t.shape) > 0)
        if a is not None:
            self.add(Center(), a)

    def grow_rms_norm(self) -> None:
        a = self.pick(lambda t: len(t.shape) > 0)
        if a is not None:
            self.add(RmsNorm(self.integer(0, 16), self.integer(1, 1 << 12), i(16)), a)

    def grow_argmax(self) -> None:
        a = self.vector(2)
        token = self.put(Argmax(), a) if a else None
        if token is not None:
            rows, width = self.type(token).hi + 1, self.integer(1, 9)
            self.add(Embed(), token, self.constant(-200, 200, (rows, width)))

    def grow_concat(self) -> None:
        a = self.vector()
        b = self.pick(lambda t: len(t.shape) == 1 and t.dtype == self.type(a).dtype) if a else None
        if a and b and self.type(a).size + self.type(b).size <= MOST_SIZE:
            self.add(Concat(), a, b, a)

    def grow_slice(self) -> None:
        a = self.pick(lambda t: len(t.shape) > 0 and t.shape[-1] > 1)
        if a is not None:
            start = self.integer(0, self.type(a).shape[-1] - 1)
            self.add(Slice(start, self.integer(start + 1, self.type(a).shape[-1])), a)

    def grow_reshape(self) -> None:
        a = self.pick(lambda t: True)
        if a is None:
            return
        shape = self.type(a).shape
        size = self.type(a).size
        rows = [d for d in range(1, size + 1) if size % d == 0]
        row = rows[self.integer(0, len(rows) - 1)]
        targets = [(size,), (row, size // row), (1, row, size // row)]
        self.add(Reshape(shape, targets[self.integer(0, 2)]), a)

    def grow_contract(self) -> None:
        a = self.pick(lambda t: len(t.shape) == 2)
        if a is not None:
            shape = self.type(a).shape
            b = self.pick(lambda t: t.shape in (shape, (1, shape[1]), (shape[0], 1))) or a
            self.add(Contract(), a, b)

    def grow_rope(self) -> None:
        a = self.pick(lambda t: len(t.shape) > 0 and t.shape[-1] % 2 == 0)
        if a is not None:
            shape = (*(1,) * (len(self.type(a).shape) - 1), self.type(a).shape[-1])
            bits = self.integer(0, 14)
            turn = self.constant(-1 << bits, 1 << bits, shape)
            self.add(Rope(bits, self.dtype()), a, turn)

    def grow_hadamard(self) -> None:
        for order in (40, 24, 20, 12, 8, 4, 2, 1):
            a = self.pick(lambda t, n=order: len(t.shape) > 0 and t.shape[-1] % n == 0)
            if a is not None and self.integer(0, 2):
                self.add(Hadamard(order), a)
                return

    def grow_pwl(self) -> None:
        a = self.pick(lambda t: True)
        if a is None:
            return
        size = self.integer(1, 9)
        base, slope = (self.constant(-4000, 4000, (size,)) for _ in range(2))
        op = Pwl(self.integer(-300, 100), self.integer(0, 8), self.integer(0, 9), self.dtype())
        self.add(op, a, base, slope)

    def grow_pwl_log(self) -> None:
        a = self.pick(lambda t: t.lo >= 0 and t.hi < 1 << 30)
        if a is not None:
            m = self.integer(0, 4)
            size = segment_count(self.type(a).hi, m)
            base, slope = (self.constant(-4000, 4000, (size,)) for _ in range(2))
            self.add(PwlLog(m, self.integer(0, 9), self.dtype()), a, base, slope)

    def grow_groups(self) -> None:
        """Quantise by dynamic scales, then multiply by a matrix or back."""
        a = self.pick(lambda t: len(t.shape) > 0 and t.peak < 1 << 40)
        if a is None:
            return
        k = self.type(a).shape[-1]
        group, m, bits = self.integer(1, k + 2), self.integer(0, 3), self.integer(2, 8)
        codes = self.put(GroupScale(group, bits, m, self.integer(8, 16)), a)
        if codes is None:
            return
        q = self.put(Quantize(group, i(bits), m), a, codes)
        if q is None:
            return
        if len(self.type(q).shape) == 1 and self.integer(0, 2):
            self.linear(q, Linear(self.integer(1, k + 2), group, m), codes)
        else:
            self.add(Dequantize(group, m), q, codes)

    def grow_linear(self) -> None:
        a = self.vector()
        if a is not None:
            self.linear(a, Linear(self.integer(1, self.type(a).size + 2)))

    def linear(self, q: str, op: Linear, *codes: str) -> None:
        k, rows, bits = self.type(q).size, self.integer(1, 12), self.integer(2, 8)
        w = self.constant(i(bits).lo, i(bits).hi, (rows, k))
        m = self.constant(
            self.integer(0, 1), self.integer(1, 900), (rows, -(-k // op.weight_group))
        )
        self.add(op, q, w, m, *codes)
