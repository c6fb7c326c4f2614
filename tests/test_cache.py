"""Caches of keys and values in runs: the end of the context, rings, windows that continue."""

from itertools import pairwise

import numpy as np
import pytest

from cosim.compare import first_difference
from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.ops import Add, Attend, CacheWrite, Clip, Concat, Count, Divide
from cosim.ops import Slice as Cut
from cosim.ops.reshape import Reshape
from cosim.reference import run
from cosim.torch_exec import TorchExecutor
from tests.ops.attention import softmax


def decoder(places=5, context=40, tile=2, heads=4, groups=2, size=2, window=None, shared=False):
    """Attend to the last `places` tokens; the input of a token holds q, k and v, side by side."""
    b = GraphBuilder("step")
    parts = {"q": (heads, size), "k": (groups, size), "v": (groups, size)}
    total = sum(h * e for h, e in parts.values())
    x = b.input("x", TensorType.full(i(8), (total,)))
    at = b.state("position", TensorType(u(12), (), 0, context))
    b.update(at, b.add("more", Count(context), at))
    cut, start = {}, 0
    for name, shape in parts.items():
        stop = start + shape[0] * shape[1]
        row = b.add(f"{name}.row", Cut(start, stop), x)
        cut[name], start = b.add(name, Reshape((stop - start,), shape), row), stop
    for name in "kv":
        state = b.state(f"{name}.cache", TensorType.full(i(8), (places, groups, size)))
        b.update(state, b.add(f"{name}.written", CacheWrite(), state, cut[name], at))
    scale = b.const("scale", np.arange(heads) * 40 + 7, u(16))
    shift = b.const("shift", np.arange(heads) % 3 + 5, u(3))
    op = Attend(tile, window or places)
    sums = b.add("sums", op, cut["q"], "k.written", "v.written", at, scale, shift)
    b.output("out", b.add("mean", Divide(8, 128, i(16)), sums))
    if shared:  # a later layer reads the same cache with what this one found
        again = b.add("again", Reshape((heads, size), (heads, size)), "q")
        more = b.add("sums.2", op, again, "k.written", "v.written", at, scale, shift)
        b.output("out2", more)
    types = {"in": b.types[x]}
    outputs = {o: f"s.{o}" for o in ("out", *(["out2"] if shared else []))}
    return Model("decoder", types, (Segment("s", b.build(), {"x": "in"}),), outputs)


def tokens(model, seed, *lead, kind="random"):
    t = model.inputs["in"]
    rng = np.random.default_rng(seed)
    if kind == "ends":
        return {"in": np.where(rng.integers(2, size=(*lead, *t.shape)) == 1, t.lo, t.hi)}
    return {"in": rng.integers(t.lo, t.hi, (*lead, *t.shape), endpoint=True)}


def test_the_step_graph_attends_to_what_came_before():
    """Against the plain list of all keys so far, the ring laid out by hand."""
    model, x = decoder(), tokens(decoder(), 0, 13)
    got = run(model, x, keep=["s/sums"]).values["s/sums"]
    op, constants = Attend(2, 5), ([7, 47, 87, 127], [5, 6, 7, 5])
    rows = x["in"].tolist()
    ring = [[[0, 0], [0, 0]] for _ in range(5)], [[[0, 0], [0, 0]] for _ in range(5)]
    for t, row in enumerate(rows):
        q = [row[0:2], row[2:4], row[4:6], row[6:8]]
        for which, first in ((0, 8), (1, 12)):
            ring[which][t % 5] = [row[first : first + 2], row[first + 2 : first + 4]]
        assert got[t].tolist() == softmax(op, q, ring[0], ring[1], t, *constants)


@pytest.mark.parametrize("use_numba", [None, False])
@pytest.mark.parametrize("execute", ["reference", "torch"])
def test_a_context_past_the_cache_is_refused_before_it_runs(execute, use_numba):
    model = decoder(places=6, context=6)
    go = TorchExecutor(model, use_numba=use_numba).run
    if execute == "reference":
        go = lambda *a: run(model, *a)  # noqa: E731
    with pytest.raises(UserError, match=r"0 tokens came before and 7 are to follow, .* after 6 "):
        go(tokens(model, 0, 7))
    begun = go(tokens(model, 0, 2, 4))
    with pytest.raises(UserError, match=r"4 tokens came before .*; begin anew, or give at most 2"):
        go(tokens(model, 0, 2, 3), begun.states)
    assert go(tokens(model, 0, 2, 2), begun.states).states["s/position"].tolist() == [6, 6]


SHAPES = [
    {},
    {"places": 1, "context": 60},
    {"places": 7, "context": 60, "tile": 3, "heads": 6, "groups": 1, "size": 4},
    {"places": 16, "context": 60, "tile": 16, "heads": 3, "groups": 3, "size": 6, "window": 9},
    {"places": 64, "context": 64, "tile": 8},
    {"places": 6, "context": 64, "shared": True},
]


@pytest.mark.parametrize("use_numba", [None, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["random", "ends"])
def test_the_executor_equals_the_step_loop(shape, use_numba, kind):
    """Whole windows, several sequences, and windows that continue at every place of the ring."""
    model = decoder(**shape)
    executor = TorchExecutor(model, use_numba=use_numba)
    x = tokens(model, 1, 2, 40, kind=kind)
    want = run(model, x, keep=None)
    got = executor.run(x, keep=None)
    assert first_difference(model, want.values, got.values) is None
    assert all(np.array_equal(want.states[n], got.states[n]) for n in want.states)
    lean = executor.run(x)
    assert all(np.array_equal(want.outputs[n], lean.outputs[n]) for n in want.outputs)
    assert all(np.array_equal(want.states[n], lean.states[n]) for n in want.states)
    for cuts in ((0, 1, 2, 40), (0, 17, 23, 40)):
        states, parts = None, []
        for a, b in pairwise(cuts):
            parts.append(executor.run({"in": x["in"][:, a:b]}, states))
            states = parts[-1].states
        for n, value in want.outputs.items():
            assert np.array_equal(np.concatenate([p.outputs[n] for p in parts], axis=1), value)
        assert all(np.array_equal(want.states[n], states[n]) for n in want.states)


@pytest.mark.parametrize("use_numba", [None, False])
def test_a_window_longer_than_a_chunk_of_tokens(use_numba):
    model = decoder(places=9, context=4000, tile=4, heads=1, groups=1)
    x = tokens(model, 2, 2500)
    want = run(model, x)
    got = TorchExecutor(model, use_numba=use_numba).run(x)
    assert np.array_equal(want.outputs["out"], got.outputs["out"])
    assert all(np.array_equal(want.states[n], got.states[n]) for n in want.states)


# Every rule of a mask, on a cache that another segment filled too.
RULES = {
    "causal, alibi": {"alibi": True, "window": 6},
    "causal, dilated": {"dilation": 2, "window": 5},
    "causal, blocks": {"blocks": (0, 0, 1, 1, 2, 0, 2, 2, 3, 2, 3, 3)},
    "both sides": {"causal": False},
    "both sides, window, alibi": {"causal": False, "alibi": True, "window": 4},
}


def encoder(rule, places=12):
    """Fill a cache, then attend to it from a second segment; causal ones read it so far only."""
    rule = {"tile": 3, "window": places, **rule}
    row = TensorType.full(i(8), (1, 2))
    fill = GraphBuilder("fill")
    x = fill.input("x", row)
    at = fill.state("position", TensorType(u(4), (), 0, places))
    fill.update(at, fill.add("more", Count(places), at))
    held = fill.state("cache", TensorType.full(i(8), (places, 1, 2)))
    fill.update(held, fill.add("written", CacheWrite(), held, x, at))
    fill.output("out", x)
    read = GraphBuilder("read")
    y = read.input("x", row)
    begin = {"cache": "fill/cache"}
    read.update("cache", read.state("cache", TensorType.full(i(8), (places, 1, 2))))
    here = read.state("here", TensorType(u(4), (), 0, places))
    read.update(here, read.add("more", Count(places), here))
    inside = read.add("inside", Clip(0, places - 1), here)
    constants = [
        read.const("scale", np.array([90, 9]), u(8)),
        read.const("s", np.array([5, 3]), u(3)),
    ]
    if rule.get("alibi"):
        constants.append(read.const("slope", np.array([400, 3]), u(9)))
    if not rule.get("causal", True):
        count = read.state("count", TensorType(u(4), (), 0, places))
        read.update(count, count)
        begin["count"] = "fill/position"
        one = read.const("one", np.array(-1), i(2))
        last = read.add("last", Clip(0, places - 1), read.add("less", Add(i(6)), count, one))
        constants.append(last)
    wide = read.add("wide", Concat(), y, y)
    q = read.add("q", Reshape((1, 4), (2, 2)), wide)
    sums = read.add("sums", Attend(**rule), q, "cache", "cache", inside, *constants)
    read.output("out", read.add("mean", Divide(8, 128, i(16)), sums))
    segments = (
        Segment("fill", fill.build(), {"x": "in"}),
        Segment("read", read.build(), {"x": "fill.out"}, states_from=begin),
    )
    return Model("encoder", {"in": row}, segments, {"out": "read.out"})


@pytest.mark.parametrize("use_numba", [None, False])
@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("time", [1, 7, 12])
def test_every_mask_over_a_cache_that_another_segment_filled(rule, time, use_numba):
    model = encoder(RULES[rule])
    executor = TorchExecutor(model, use_numba=use_numba)
    x = tokens(model, time, 2, time)
    want = run(model, x, keep=["read/sums"])
    assert np.array_equal(executor.run(x).outputs["out"], want.outputs["out"])
    kept = executor.run(x, keep=["read/sums"])
    assert np.array_equal(kept.values["read/sums"], want.values["read/sums"])
    if not model.segments[1].graph.nodes[-2].op.causal:  # every token sees every other
        op, rows = model.segments[1].graph.nodes[-2].op, x["in"][0].tolist()
        ring = [*rows, *[[[0, 0]]] * (12 - time)]
        more = ([[400, 3]] if op.alibi else []) + [time - 1]
        for t in range(time):
            q = [rows[t][0], rows[t][0]]
            wanted = softmax(op, q, ring, ring, t, [90, 9], [5, 3], *more)
            assert want.values["read/sums"][0, t].tolist() == wanted
