"""Both scans of a decaying state equal the reference, and each is really taken."""

import numpy as np
import pytest

from cosim.compare import first_difference
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.kernels import scan
from cosim.kernels.scan_elements import element_scan
from cosim.ops import Contract, DecayUpdate
from cosim.reference import run
from cosim.torch_exec import TorchExecutor
from tests.random_graphs import data_for


def model_of(shape, k_shape, u_shape, b_shape, lift, bits, dtype, operand_bits=8, k_hi=None):
    """Build one state update with its read-out; k, u, b and c are inputs."""
    graph = GraphBuilder("g")
    types = {
        "k": TensorType(u(17), k_shape, 0, (1 << bits) if k_hi is None else k_hi),
        "u": TensorType.full(i(operand_bits), u_shape),
        "b": TensorType.full(i(operand_bits), b_shape),
        "c": TensorType.full(i(operand_bits), b_shape),
    }
    for name, t in types.items():
        graph.input(name, t)
    h = graph.state("h", TensorType.full(dtype, shape))
    shift = graph.const("lift", np.asarray(lift), u(5))
    graph.update(h, graph.add("new", DecayUpdate(bits, dtype), h, "k", "u", "b", shift))
    graph.output("y", graph.add("read", Contract(), "new", "c"))
    segment = Segment("s", graph.build(), {n: n for n in types})
    return Model("m", types, (segment,), {"y": "s.y"})


@pytest.fixture
def taken(monkeypatch):
    """Note which kernel runs."""
    names = []
    for name in ("scan_rows", "scan_columns"):
        kernel = getattr(scan, name)

        def noted(*arguments, name=name, kernel=kernel):
            names.append(name)
            return kernel(*arguments)

        monkeypatch.setattr(scan, name, noted)

    def noted_elements(n):
        names.append("element_scan")
        return element_scan(n)

    monkeypatch.setattr(scan, "element_scan", noted_elements)
    return names


def assert_alike(model, lead, seed=0, states=None):
    executor = TorchExecutor(model)
    for kind in ("random", "corners", "high", "low"):
        x = data_for(model, np.random.default_rng(seed), lead, kind)
        want, got = run(model, x, states, keep=None), executor.run(x, states, keep=None)
        difference = first_difference(model, want.values, got.values)
        assert difference is None, str(difference)
        alone = executor.run(x, states)
        for some in (got, alone):
            assert np.array_equal(want.outputs["y"], some.outputs["y"])
            assert np.array_equal(want.states["s/h"], some.states["s/h"])
            assert want.clipped == some.clipped


ROWS = [(8,), (24,), (96,), (2, 12), (2, 4, 3), (3, 8)]


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_columns(taken, rows, n):
    """Decay and drive one per row, b and c shared by all rows, or by all of each group."""
    shared = (*(1 for _ in rows), n)
    grouped = (rows[0], *(1 for _ in rows[1:]), n)
    for b_shape in (shared, grouped) if len(rows) > 1 else (shared,):
        lift = np.zeros((*rows, 1), dtype=int)
        lift[..., 0] = np.arange(rows[-1]) % 4
        model = model_of((*rows, n), (*rows, 1), (*rows, 1), b_shape, lift, 8, i(16))
        assert_alike(model, (2, 7))
    assert "scan_columns" in taken


@pytest.mark.parametrize(
    ("shape", "k_shape", "u_shape", "b_shape", "lift_shape"),
    [
        ((5, 6), (5, 6), (5, 1), (1, 6), (1, 1)),
        ((5, 6), (1, 6), (5, 1), (1, 6), (5, 6)),
        ((5, 6), (1, 1), (5, 6), (5, 6), (1, 6)),
        ((5, 6), (5, 1), (1, 1), (1, 1), (5, 1)),
        ((16, 6), (16, 6), (16, 1), (1, 6), (1, 1)),
        ((16, 6), (16, 1), (16, 1), (16, 6), (1, 1)),
        ((7,), (7,), (1,), (7,), (1,)),
        ((7,), (1,), (7,), (1,), (7,)),
        ((2, 3, 1), (2, 1, 1), (1, 3, 1), (1, 1, 1), (1, 1, 1)),
        ((11, 4), (11, 1), (11, 1), (1, 4), (11, 1)),
    ],
)
def test_rows(taken, shape, k_shape, u_shape, b_shape, lift_shape):
    """Any broadcast: Mamba-1 has a decay of its own for each element."""
    lift = np.arange(np.prod(lift_shape)).reshape(lift_shape) % 3
    model = model_of(shape, k_shape, u_shape, b_shape, lift, 6, i(12))
    assert_alike(model, (2, 7))
    assert_alike(model, (1,))
    assert taken


@pytest.mark.parametrize("n", [8, 16])
@pytest.mark.parametrize("rows", [(1,), (7,), (3, 5)], ids=str)
def test_elements_in_registers(taken, rows, n):
    """A decay per element; b and c shared by all rows, by all of each group, or by none."""
    ones = tuple(1 for _ in rows)
    for b_shape in ((*ones, n), (rows[0], *ones[1:], n), (*rows, n)):
        lift = np.arange(np.prod(rows)).reshape(*rows, 1) % 4
        model = model_of((*rows, n), (*rows, n), (*rows, 1), b_shape, lift, 8, i(16))
        state = {"s/h": np.random.default_rng(1).choice([-(1 << 15), 0, 99], (2, *rows, n))}
        assert_alike(model, (2, 7), states=state)
    assert set(taken) == {"element_scan"}


def test_the_kernel_that_fits_is_taken(taken):
    mamba_2 = model_of((16, 6), (16, 1), (16, 1), (1, 6), [[0]], 6, i(12))
    mamba_1 = model_of((16, 6), (16, 6), (16, 1), (1, 6), [[0]], 6, i(12))
    whole = model_of((4, 16), (4, 16), (4, 1), (1, 16), [[0]], 6, i(12))
    for model in (mamba_2, mamba_1, whole):
        TorchExecutor(model).run(data_for(model, np.random.default_rng(0), (3,)))
    # Lifts of one element are not one per row: the columns want them spread.
    spread = model_of((16, 6), (16, 1), (16, 1), (1, 6), np.zeros((16, 1), int), 6, i(12))
    TorchExecutor(spread).run(data_for(spread, np.random.default_rng(0), (3,)))
    assert taken == ["scan_columns", "scan_rows", "element_scan", "scan_columns"]


@pytest.mark.parametrize(("columns", "n"), [(False, 3), (True, 3), (False, 8)])
def test_sums_near_2_to_the_52_are_exact(taken, columns, n):
    """The widest state and operands that the float64 scan accepts; ends of all ranges."""
    shape = (8, n)
    k_shape = (8, 1) if columns else (8, n)
    model = model_of(shape, k_shape, (8, 1), (1, n), [[2]] * 8, 16, i(34), 23)
    graph = model.segments[0].graph
    reach = max(n.op.peak(graph.input_types(n)) for n in graph.nodes)
    assert reach > 1 << 50
    assert_alike(model_of(shape, k_shape, (8, 1), (1, n), [[2]] * 8, 16, i(33), 16), (2, 5))
    assert taken


def test_wider_sums_leave_the_float_scan(taken):
    """Past 2^52 the loop over the operators' meanings runs: slower, and exact."""
    model = model_of((8, 3), (8, 1), (8, 1), (1, 3), [[0]] * 8, 16, i(40), 18)
    assert_alike(model, (2, 5))
    assert taken == []


@pytest.mark.parametrize("bits", [0, 1, 2, 16])
def test_ties_round_up_in_the_scan(bits, taken):
    """Half an LSB on either side of zero; with no decay bits there is nothing to round."""
    model = model_of((8, 1), (8, 1), (8, 1), (1, 1), [[0]] * 8, bits, i(20), k_hi=0)
    half = (1 << bits) >> 1
    u_ = np.array([half, -half, 3 * half, -3 * half, half - 1, -half - 1, half + 1, 1 - half])
    fits = np.abs(u_) < 128
    x = {
        "k": np.zeros((1, 8, 1), int),
        "u": np.where(fits, u_, 0).reshape(1, 8, 1),
        "b": np.ones((1, 1, 1), int),
        "c": np.ones((1, 1, 1), int),
    }
    got = TorchExecutor(model).run(x).outputs["y"]
    want = [(2 * v + (1 << bits)) // (2 << bits) for v in x["u"].reshape(-1).tolist()]
    assert got.reshape(-1).tolist() == want
    assert taken


def test_a_scan_goes_on_from_a_state():
    model = model_of((8, 4), (8, 1), (8, 1), (1, 4), [[1]] * 8, 8, i(10))
    state = {"s/h": np.random.default_rng(1).choice([-512, 0, 511], (2, 8, 4))}
    assert_alike(model, (2, 6), states=state)


def test_the_scan_needs_the_state_as_its_first_operand():
    """A graph whose update decays something else, and only drives with the state."""
    b = GraphBuilder("g")
    x = b.input("x", TensorType.full(i(8), (2, 3)))
    h = b.state("h", TensorType.full(i(8), (2, 3)))
    k, one, lift = (b.const(n, np.full((1, 1), v), i(8)) for n, v in (("k", 3), ("o", 1), ("l", 1)))
    b.update(h, b.add("new", DecayUpdate(4, i(8)), x, k, h, one, lift))
    b.output("y", "new")
    graph = b.build()
    model = Model("m", {"x": graph.types["x"]}, (Segment("s", graph, {"x": "x"}),), {"y": "s.y"})
    assert_alike(model, (2, 6))
