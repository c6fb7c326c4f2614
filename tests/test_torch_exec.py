"""The torch executor equals the reference on every node, saturation count and state."""

import numba
import numpy as np
import pytest
import torch

from cosim.compare import first_difference
from cosim.ir.errors import InternalError, UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i
from cosim.ops import ALL, Add, Contract, DecayUpdate, Linear, Mul, Push, Requant
from cosim.reference import Run, initial_states, run
from cosim.torch_exec import TorchExecutor
from tests.random_graphs import data_for, random_model
from tests.test_reference import BYTES, GOOD, model_of

LEADS = [(7,), (2, 6), (2, 1, 5), (1,)]
KINDS = ["random", "corners", "high", "low"]


def assert_same(model: Model, want: Run, got: Run) -> None:
    """Demand the same outputs, values, states and counts, bit for bit."""
    if want.values or got.values:
        difference = first_difference(model, want.values, got.values)
        assert difference is None, str(difference)
    for left, right in ((want.outputs, got.outputs), (want.states, got.states)):
        assert set(left) == set(right)
        for name in left:
            assert left[name].shape == right[name].shape
            assert np.array_equal(left[name], right[name]), name
            assert right[name].dtype == np.int64
    assert dict(want.clipped) == dict(got.clipped)
    assert dict(want.elements) == dict(got.elements)


def test_the_random_graphs_hold_every_operator():
    seen = {
        type(n.op) for seed in range(24) for s in random_model(seed).segments for n in s.graph.nodes
    }
    assert set(ALL) - seen == set()


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_run_alike_in_plain_torch(seed):
    """No compiled kernels: the operators' meanings on int32 and int64 tensors, and the loop."""
    model = random_model(seed)
    rng = np.random.default_rng(seed)
    executor = TorchExecutor(model, use_numba=False)
    for k, kind in enumerate(KINDS):
        x = data_for(model, rng, LEADS[(seed + k) % 4], kind)
        assert_same(model, run(model, x, keep=None), executor.run(x, keep=None))
        assert_same(model, run(model, x), executor.run(x, keep=()))


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_run_alike_in_compiled_kernels(seed):
    model = random_model(seed)
    rng = np.random.default_rng(seed)
    executor = TorchExecutor(model)
    for k, kind in enumerate(KINDS):
        x = data_for(model, rng, LEADS[(seed + k) % 4], kind)
        assert_same(model, run(model, x, keep=None), executor.run(x, keep=None))
        assert_same(model, run(model, x), executor.run(x, keep=()))


@pytest.mark.parametrize("seed", range(4))
def test_any_one_value_can_be_kept_alone(seed):
    """What is not kept may be fused away: each value must survive being the only one."""
    model = random_model(seed, steps=12)
    x = data_for(model, np.random.default_rng(seed), (5,))
    executor = TorchExecutor(model)
    for name, value in run(model, x, keep=None).values.items():
        kept = executor.run(x, keep=[name]).values
        assert set(kept) == {name}
        assert np.array_equal(kept[name], value), name


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("seed", range(30, 36))
def test_windows_continue(seed, use_numba):
    """Two windows with the states carried over equal one, and either executor may go on."""
    model = random_model(seed, causal=True)
    x = data_for(model, np.random.default_rng(seed), (2, 9), "corners")
    executor = TorchExecutor(model, use_numba=use_numba)
    whole = run(model, x, keep=None)
    cut = [{n: v[:, a:b] for n, v in x.items()} for a, b in ((0, 4), (4, 5), (5, 9))]
    for runs in ([executor.run] * 3, [lambda *a, **k: run(model, *a, **k), executor.run] * 2):
        states, parts = None, []
        for part, execute in zip(cut, runs, strict=False):
            parts.append(execute(part, states, keep=None))
            states = parts[-1].states
        values = {n: np.concatenate([p.values[n] for p in parts], axis=1) for n in whole.values}
        assert first_difference(model, whole.values, values) is None
        assert all(np.array_equal(whole.states[n], states[n]) for n in whole.states)
        assert whole.clipped == sum((p.clipped for p in parts[1:]), parts[0].clipped)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads):
    before = torch.get_num_threads(), numba.get_num_threads()
    try:
        torch.set_num_threads(threads)
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        for seed in (3, 8):
            model = random_model(seed)
            x = data_for(model, np.random.default_rng(seed), (3, 70), "corners")
            executor = TorchExecutor(model)
            want = run(model, x, keep=None)
            for _ in range(3):
                assert_same(model, want, executor.run(x, keep=None))
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def test_a_run_does_not_change_its_inputs_or_states():
    model = random_model(31, causal=True)
    x = data_for(model, np.random.default_rng(0), (5,))
    states = run(model, x).states
    copies = {n: v.copy() for n, v in {**x, **states}.items()}
    TorchExecutor(model).run(x, states, keep=None)
    assert all(np.array_equal(copies[n], v) for n, v in {**x, **states}.items())


def test_an_executor_runs_again_and_again():
    model = random_model(5)
    executor = TorchExecutor(model)
    for seed in range(3):
        x = data_for(model, np.random.default_rng(seed), (4 + seed,))
        assert_same(model, run(model, x, keep=None), executor.run(x, keep=None))


def test_without_counting_the_bits_stay():
    model = random_model(7)
    x = data_for(model, np.random.default_rng(0), (6,), "high")
    got = TorchExecutor(model).run(x, keep=None, count=False)
    want = run(model, x, keep=None)
    assert first_difference(model, want.values, got.values) is None
    assert (dict(got.clipped), dict(got.elements)) == ({}, {})


@pytest.mark.parametrize("use_numba", [False, True])
def test_saturation_is_counted_by_hand(use_numba):
    """x + x saturates in i8 for |x| >= 64; each of 3 tokens has 2 channels."""
    b = GraphBuilder("g")
    x = b.input("x", BYTES)
    b.output("y", b.add("y", Add(i(8)), x, x))
    model = model_of(b.build())
    tokens = np.array([[64, 63], [-64, -65], [127, 0]])
    got = TorchExecutor(model, use_numba=use_numba).run({"in": tokens})
    assert got.outputs["y"].tolist() == [[127, 126], [-128, -128], [127, 0]]
    assert (got.clipped, got.elements) == ({"s/y": 3}, {"s/y": 6})


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("bits", [31, 32, 33, 40, 62])
def test_a_declared_type_may_be_wider_than_its_carrier(bits, use_numba):
    """The proved bounds are small, so that int32 carries a value declared i40."""
    b = GraphBuilder("g")
    x = b.input("x", BYTES)
    y = b.add("y", Add(i(bits)), x, x)
    b.output("z", b.add("z", Requant(i(bits)), y, b.const("s", np.array([-1]), i(2))))
    model = model_of(b.build())
    tokens = {"in": np.array([[127, -128], [1, 0]])}
    assert_same(
        model,
        run(model, tokens, keep=None),
        TorchExecutor(model, use_numba=use_numba).run(tokens, keep=None),
    )


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("shift", [30, 31, 32, 61, 62])
def test_shifts_as_wide_as_the_carrier(shift, use_numba):
    b = GraphBuilder("g")
    x = b.input("x", BYTES)
    b.output("y", b.add("y", Requant(i(8)), x, b.const("s", np.array([shift]), i(7))))
    model = model_of(b.build())
    got = TorchExecutor(model, use_numba=use_numba).run({"in": np.array([[127, -128]])})
    assert got.outputs["y"].tolist() == [[0, 0]]


def feedback(before: bool) -> Model:
    """Build a decaying state whose drive depends on the state itself, and a read-out of it."""
    b = GraphBuilder("g")
    x = b.input("x", TensorType.full(i(8), (2, 3)))
    h = b.state("h", TensorType.full(i(12), (2, 3)))
    one = b.const("one", np.ones((1, 1), dtype=np.int64), i(2))
    zero = b.const("zero", np.zeros((1, 1), dtype=np.int64), i(2))
    k = b.const("k", np.array([[3], [9]]), i(8))
    drive = b.add("drive", Add(i(12)), h, x) if before else x
    other = b.add("other", Requant(i(8)), x, zero)
    new = b.add("new", DecayUpdate(4, i(12)), h, k, drive, one, zero)
    b.update(h, new)
    b.output("read", b.add("read", Contract(), new, other))
    b.output("old", b.add("old", Requant(i(8)), h, zero))
    return Model(
        "m", {"in": b.types["x"]}, (Segment("s", b.build(), {"x": "in"}),), {"o": "s.read"}
    )


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_read_out_is_fused_only_where_it_may_be(before, use_numba):
    """Where the state feeds its own drive, the circle is larger than state and update."""
    model = feedback(before)
    x = {"in": np.random.default_rng(0).integers(-128, 128, (3, 9, 2, 3))}
    executor = TorchExecutor(model, use_numba=use_numba)
    assert_same(model, run(model, x, keep=None), executor.run(x, keep=None))
    assert_same(model, run(model, x), executor.run(x))


@pytest.mark.parametrize("use_numba", [False, True])
def test_a_state_may_be_its_own_drive(use_numba):
    b = GraphBuilder("g")
    b.input("x", TensorType.full(i(8), (2, 3)))
    h = b.state("h", TensorType.full(i(6), (2, 3)), init=b.const("h0", np.full((2, 3), 3), i(6)))
    k = b.const("k", np.array([[3], [9]]), i(8))
    lift = b.const("lift", np.array([[0]]), i(2))
    b.update(h, b.add("new", DecayUpdate(4, i(6)), h, k, h, "x", lift))
    b.output("o", "new")
    model = Model("m", {"in": b.types["x"]}, (Segment("s", b.build(), {"x": "in"}),), {"o": "s.o"})
    x = {"in": np.random.default_rng(0).integers(-128, 128, (9, 2, 3))}
    executor = TorchExecutor(model, use_numba=use_numba)
    assert_same(model, run(model, x, keep=None), executor.run(x, keep=None))


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("c_shape", [(4, 5), (1, 1), (4, 1), (1, 5)])
@pytest.mark.parametrize("h_shape", [(4, 5), (1, 5), (4, 1)])
def test_a_read_out_may_broadcast_either_way(h_shape, c_shape, use_numba):
    b = GraphBuilder("g")
    x, c = (
        b.input("x", TensorType.full(i(8), h_shape)),
        b.input("c", TensorType.full(i(8), c_shape)),
    )
    h = b.state("h", TensorType.full(i(12), h_shape))
    one, k, lift = (
        b.const(n, np.full((1, 1), v), i(8)) for n, v in (("one", 1), ("k", 3), ("l", 2))
    )
    b.update(h, b.add("new", DecayUpdate(4, i(12)), h, k, x, one, lift))
    b.output("o", b.add("read", Contract(), "new", c))
    graph = b.build()
    model = Model(
        "m",
        {n: graph.types[n] for n in "xc"},
        (Segment("s", graph, {"x": "x", "c": "c"}),),
        {"o": "s.o"},
    )
    x = data_for(model, np.random.default_rng(0), (2, 6), "corners")
    executor = TorchExecutor(model, use_numba=use_numba)
    assert_same(model, run(model, x, keep=None), executor.run(x, keep=None))
    assert_same(model, run(model, x), executor.run(x))


def long_linear(k: int, act_bits: int, weight_bits: int) -> Model:
    b = GraphBuilder("g")
    x = b.input("x", TensorType.full(i(act_bits), (k,)))
    w = b.const("w", np.full((3, k), i(weight_bits).lo), i(weight_bits))
    m = b.const("m", np.array([[1], [3], [7]]), i(4))
    b.output("y", b.add("y", Linear(k), x, w, m))
    return Model("m", {"in": b.types["x"]}, (Segment("s", b.build(), {"x": "in"}),), {"y": "s.y"})


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize(
    ("k", "act_bits", "weight_bits"),
    [(1, 8, 8), (2, 8, 8), (1023, 8, 8), (1025, 8, 8), (4097, 8, 8), (1030, 16, 8), (1100, 24, 24)],
)
def test_long_sums_of_one_sign_are_exact(k, act_bits, weight_bits, use_numba):
    """All operands at the same end: a float32 sum of K > 1024 products would lose its last bits."""
    model = long_linear(k, act_bits, weight_bits)
    lo, hi = i(act_bits).lo, i(act_bits).hi
    x = np.full((20, k), lo)
    x[1], x[2, 0], x[3, -1] = hi, lo + 1, hi
    got = TorchExecutor(model, use_numba=use_numba).run({"in": x}).outputs["y"]
    sums = [sum(row) * i(weight_bits).lo for row in x.tolist()]
    assert got.tolist() == [[s, 3 * s, 7 * s] for s in sums]


def test_the_same_doors_as_the_reference():
    executor = TorchExecutor(model_of())
    with pytest.raises(UserError, match="outside -128"):
        executor.run({"in": GOOD + 128})
    with pytest.raises(UserError, match="is missing"):
        executor.run({"in": GOOD}, {})
    with pytest.raises(UserError, match="same batch"):
        executor.run({"in": GOOD}, initial_states(model_of(), (2,)))
    with pytest.raises(InternalError, match="has no value 's/gone' to keep"):
        executor.run({"in": GOOD}, keep=["s/gone"])
    backward = model_of(direction="backward")
    with pytest.raises(UserError, match="is not causal"):
        TorchExecutor(backward).run({"in": GOOD}, initial_states(backward))


def test_a_wrong_kernel_would_be_noticed(monkeypatch):
    """The comparison has teeth: one LSB in one operator of one executor fails it."""
    meaning = Mul.meaning
    model = random_model(3)
    assert any(isinstance(n.op, Mul) for s in model.segments for n in s.graph.nodes)
    x = data_for(model, np.random.default_rng(0), (4,))
    want = run(model, x, keep=None)
    monkeypatch.setattr(Mul, "meaning", lambda self, *a: meaning(self, *a) + 1)
    with pytest.raises(AssertionError, match="first difference at seg"):
        assert_same(model, want, TorchExecutor(model, use_numba=False).run(x, keep=None))


def test_a_window_of_a_wider_type_than_its_input():
    """The window's bounds are those of its declared type, the input's are narrower."""
    b = GraphBuilder("g")
    x = b.input("x", TensorType(i(40), (2,), -5, 5))
    first = b.const("first", np.full((2, 2), 1 << 38), i(40))
    window = b.state("w", TensorType.full(i(40), (2, 2)), init=first)
    b.update(window, b.add("p", Push(), window, x))
    b.output("o", "p")
    model = Model("m", {"in": b.types["x"]}, (Segment("s", b.build(), {"x": "in"}),), {"o": "s.o"})
    data = {"in": np.array([[5, -5], [1, 2], [3, 4]])}
    for use_numba in (False, True):
        executor = TorchExecutor(model, use_numba=use_numba)
        assert_same(model, run(model, data, keep=None), executor.run(data, keep=None))


@pytest.mark.gpu
@pytest.mark.parametrize("seed", range(6))
def test_random_graphs_run_alike_on_cuda(seed):
    model = random_model(seed)
    executor = TorchExecutor(model, "cuda")
    for kind in KINDS:
        x = data_for(model, np.random.default_rng(seed), (2, 40), kind)
        assert_same(model, run(model, x, keep=None), executor.run(x, keep=None))


@pytest.mark.gpu
@pytest.mark.parametrize(("k", "act_bits"), [(1024, 8), (4096, 8), (4096, 16)])
def test_long_sums_are_exact_on_cuda(k, act_bits):
    """The first two take the int8 product, the third float64."""
    model = long_linear(k, act_bits, 8)
    x = np.full((32, k), i(act_bits).lo)
    got = TorchExecutor(model, "cuda").run({"in": x}).outputs["y"]
    assert got[0, 0] == k * i(act_bits).lo * -128
