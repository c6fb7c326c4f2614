"""Grow random legal models: every operator, every kind of state, segments both ways.

`random_model(seed)` is a pure function of its seed. Whatever the graph builder refuses as too wide
is simply not added; what it accepts, all executors must run alike.
"""

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.graph import Graph
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.ops import (
    Add,
    ArgmaxAttend,
    Attend,
    CacheWrite,
    Clip,
    Contract,
    Count,
    DecayUpdate,
    Dequantize,
    Divide,
    Fir,
    GroupScale,
    Mul,
    Push,
    Quantize,
    ReluAttend,
    Reshape,
    Slice,
    Wkv,
)
from tests.grower import MOST_SIZE
from tests.grower_spike import SpikeGrower


class StateGrower(SpikeGrower):
    """Add states too."""

    def grow_window(self) -> None:
        """Add a delay line and a filter over it; now and then also read the old window."""
        x = self.vector()
        if x is None:
            return
        t, k = self.type(x), self.integer(1, 5)
        window = self.b.state(self.fresh("window"), TensorType.full(t.dtype, (k, t.size)))
        pushed = self.put(Push(), window, x)
        assert pushed is not None
        self.b.update(window, pushed)
        taps = self.constant(-128, 127, (k, t.size))
        self.add(Fir(), pushed, taps, self.constant(-999, 999, (t.size,)))
        if self.integer(0, 2) == 0:
            self.moving.append(window)

    def grow_decay(self) -> None:
        """Add a decaying matrix state, with or without a read-out that can be fused."""
        rows, n, bits = self.integer(1, 4), self.integer(1, 6), self.integer(0, 16)
        shape = (rows, n)
        dtype = i(self.integer(4, 26))
        h = self.b.state(self.fresh("h"), TensorType.full(dtype, shape))
        k = self.positive((rows, 1), 1 << bits) or self.constant(
            0, 1 << bits, self.shape_for(shape)
        )
        u_, b, c = self.operand((rows, 1)), self.operand((1, n)), self.operand((1, n))
        lift = self.constant(0, self.integer(0, 4), self.shape_for(shape))
        name = self.fresh("decay")
        try:
            self.b.add(name, DecayUpdate(bits, dtype), h, k, u_, b, lift)
        except UserError:
            self.b.update(h, self.same(h))
            return
        self.b.update(h, name)
        if self.integer(0, 3):
            self.add(Contract(), name, c)
        if self.integer(0, 2) == 0:
            self.moving.append(name)
        if self.integer(0, 3) == 0:
            self.moving.append(h)

    def operand(self, shape: tuple[int, int]) -> str:
        """Find or make a moving value of a shape by slicing and reshaping, else a constant."""
        size = shape[0] * shape[1]
        found = self.pick(lambda t: len(t.shape) == 1 and t.size >= size and t.dtype.bits <= 16)
        if found is None:
            return self.constant(-100, 100, shape)
        cut = self.put(Slice(0, size), found)
        assert cut is not None
        got = self.put(Reshape((size,), shape), cut)
        assert got is not None
        return got

    def positive(self, shape: tuple[int, int], most: int) -> str | None:
        name = self.operand(shape)
        if name not in self.moving or not self.type(name).dtype.holds(0, most):
            return None
        return self.put(Clip(0, most), name)

    def same(self, state: str) -> str:
        """Give a value of exactly a state's type: the state itself, added to nothing."""
        t = self.type(state)
        zero = self.b.const(self.fresh("c"), np.zeros(t.shape, dtype=np.int64), t.dtype)
        name = self.fresh("same")
        self.b.add(name, Add(t.dtype), state, zero)
        return name

    def grow_loop(self) -> None:
        """Add a state that a chain of nodes feeds back: s' = sat(f(s, x))."""
        x = self.pick(lambda t: t.size <= MOST_SIZE and t.dtype.bits <= 20)
        if x is None:
            return
        shape, dtype = self.type(x).shape, i(self.integer(3, 16))
        first = None
        if self.integer(0, 1):
            first = self.constant(dtype.lo, dtype.hi, shape, dtype)
        s = self.b.state(self.fresh("s"), TensorType.full(dtype, shape), init=first)
        self.moving.append(s)
        mixed = self.put(Mul(i(18)), s, x, self.constant(0, 9, self.shape_for(shape))) or s
        total = self.put(Add(i(20)), mixed, s) or s
        self.b.update(s, self.narrow(total, dtype))
        if self.integer(0, 1):
            self.moving.remove(s)

    def grow_counter(self) -> None:
        """Add a state that reads nothing but itself."""
        shape, dtype = (self.integer(1, 5),), i(self.integer(3, 9))
        s = self.b.state(self.fresh("counter"), TensorType.full(dtype, shape))
        got = self.put(Add(dtype), s, self.constant(-3, 9, shape))
        assert got is not None
        self.b.update(s, got)

    def grow_cache(self) -> None:
        """Keep keys and values in a ring, and attend to them, now and then twice."""
        n, groups, size, width = (self.integer(1, most) for most in (7, 2, 4, 3))
        at = self.b.state(self.fresh("position"), TensorType(u(14), (), 0, 9000))
        self.b.update(at, self.b.add(self.fresh("count"), Count(9000), at))
        caches = []
        for wide in (size, width):
            row = self.operand((groups, wide))
            name = self.b.state(
                self.fresh("cache"), TensorType.full(self.type(row).dtype, (n, groups, wide))
            )
            written = self.b.add(self.fresh("cache_write"), CacheWrite(), name, row, at)
            self.b.update(name, written)
            caches.append(written)
        for _ in range(self.integer(1, 2)):
            q = self.operand((groups * self.integer(1, 3), size))
            heads = self.type(q).shape[:1]
            shift = self.integer(6, 22)
            more = [self.constant(0, 999, heads), self.constant(shift, shift + 2, heads)]
            alibi = self.integer(0, 2) == 0
            if alibi:
                more.append(self.constant(0, 5000, heads))
            window, dilation = self.integer(1, n), self.integer(1, 3)
            op = Attend(self.integer(1, 4), window, dilation, alibi=alibi)
            if self.integer(0, 4) == 0:
                self.add(ArgmaxAttend(self.integer(1, 4), window, dilation), q, *caches, at)
            if self.integer(0, 3) == 0:
                op, more = ReluAttend(self.integer(1, 4), window, dilation), more[:2]
            sums = self.put(op, q, *caches, at, *more)
            if sums is not None:
                self.moving.remove(sums)
                self.add(Divide(self.integer(0, 9), self.integer(1, 300), i(16)), sums)
        if self.integer(0, 2) == 0:
            self.moving.append(caches[self.integer(0, 1)])

    def grow_mean(self) -> None:
        """Keep RWKV-4's weighted sums of values, and read them before or after the update."""
        size = self.integer(1, 5)
        k, v = (self.row(size) for _ in range(2))
        state = self.b.state(self.fresh("sums"), TensorType.full(i(40), (size, 3)))
        op = Wkv(self.integer(0, 12), self.integer(1, 18), i(40))
        name = self.b.add(self.fresh("wkv"), op, state, k, v, self.constant(-999, 0, (size,)))
        self.b.update(state, name)
        read = self.put(op, state, k, v, self.constant(0, 9, (size,)))
        self.moving.append(name)
        if read is not None:
            cut = self.put(Slice(0, 2), read)
            assert cut is not None
            self.add(Divide(self.integer(0, 9), self.integer(1, 300), i(16)), cut)

    def row(self, size: int) -> str:
        """Find or make a vector of a size."""
        found = self.operand((1, size))
        if found not in self.moving:
            return self.constant(-100, 100, (size,))
        return self.put(Reshape((1, size), (size,)), found) or found

    def grow_delay(self) -> None:
        """Delay a value by two tokens: a state that is fed by a state."""
        x = self.pick(lambda t: t.lo <= 0 <= t.hi)
        if x is not None:
            one = self.b.state(self.fresh("delay"), self.type(x))
            two = self.b.state(self.fresh("delay"), self.type(x))
            self.b.update(one, x)
            self.b.update(two, one)
            self.moving.append(two)

    def grow_grouped_state(self) -> None:
        """Store a decaying state as int8 codes with a scale per group, quantised every token."""
        rows, n, group, bits = self.integer(1, 3), self.integer(1, 7), self.integer(1, 4), 12
        shape, wide = (rows, n), i(self.integer(8, 22))
        rule = GroupScale(group, 8)
        codes = rule.infer([TensorType.full(wide, shape)])
        q0 = self.b.state(self.fresh("q"), TensorType.full(i(8), shape))
        c0 = self.b.state(self.fresh("codes"), codes)
        stem = self.fresh("grouped")
        h = self.b.add(f"{stem}.h", Dequantize(group), q0, c0)
        k = self.constant(0, 1 << bits, (rows, 1))
        u_, b = self.operand((rows, 1)), self.operand((1, n))
        lift = self.constant(0, 3, (1, 1))
        h1 = self.b.add(f"{stem}.update", DecayUpdate(bits, wide), h, k, u_, b, lift)
        c1 = self.b.add(f"{stem}.codes", rule, h1)
        q1 = self.b.add(f"{stem}.q", Quantize(group, i(8)), h1, c1)
        self.b.update(q0, q1)
        self.b.update(c0, c1)
        back = self.b.add(f"{stem}.wide", Dequantize(group), q1, c1)
        self.add(Contract(), back, self.operand((1, n)))


GROWTH = [getattr(StateGrower, n) for n in dir(StateGrower) if n.startswith("grow_")]


def random_graph(
    rng: np.random.Generator, name: str, inputs: dict[str, TensorType], steps: int
) -> Graph:
    """Grow a graph by that many random additions; show some of its values."""
    g = StateGrower(rng, name, inputs)
    for _ in range(steps):
        GROWTH[g.integer(0, len(GROWTH) - 1)](g)
    nodes = [n for n in g.moving if n not in inputs]
    for k, value in enumerate(dict.fromkeys(nodes[-1:] + nodes[:: max(len(nodes) // 3, 1)])):
        g.b.output(f"o{k}", value)
    if not nodes:
        g.b.output("o0", next(iter(inputs)))
    return g.b.build()


def random_model(seed: int, steps: int = 22, causal: bool = False) -> Model:
    """Join one to three random graphs; some run backward, some look ahead."""
    rng = np.random.default_rng(seed)
    known = {
        "x": TensorType.full(i(int(rng.integers(4, 17))), (int(rng.integers(1, 25)),)),
        "t": TensorType(u(5), (), 0, 18),
    }
    model_inputs = dict(known)
    segments: list[Segment] = []
    for k in range(int(rng.integers(1, 4))):
        sources = [n for n, t in known.items() if t.lo <= 0 <= t.hi]
        wires = {f"in{j}": sources[int(rng.integers(len(sources)))] for j in range(2)}
        graph = random_graph(rng, f"g{k}", {n: known[s] for n, s in wires.items()}, steps)
        kind = "forward" if causal else ["forward", "backward", "ahead"][int(rng.integers(3))]
        segment = Segment(
            f"seg{k}",
            graph,
            wires,
            "backward" if kind == "backward" else "forward",
            int(rng.integers(1, 4)) if kind == "ahead" else 0,
        )
        segments.append(segment)
        known |= {f"seg{k}.{o}": graph.types[v] for o, v in graph.outputs.items()}
    outputs = {f"y{k}": n for k, n in enumerate(known) if "." in n}
    return Model(f"random {seed}", model_inputs, tuple(segments), outputs)


def data_for(
    model: Model, rng: np.random.Generator, lead: tuple[int, ...], kind: str = "random"
) -> dict[str, np.ndarray]:
    """Draw inputs [*lead, *shape]: random, or at the ends of the range (all, or each at one)."""
    data = {}
    for name, t in model.inputs.items():
        shape = (*lead, *t.shape)
        if kind == "random":
            data[name] = rng.integers(t.lo, t.hi, shape, endpoint=True)
        elif kind == "corners":
            data[name] = np.where(rng.integers(2, size=shape) == 1, t.hi, t.lo)
        else:
            data[name] = np.full(shape, t.hi if kind == "high" else t.lo)
    return data
