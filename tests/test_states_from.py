"""A segment may start its states from what an earlier segment's were after the window."""

import json

import numpy as np
import pytest

from cosim.compare import first_difference
from cosim.ir.errors import InternalError
from cosim.ir.file import GRAPH_FILE, content_hash, load_model, save_model
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i
from cosim.ops import OPS, Add, Contract, Push
from cosim.reference import run
from cosim.torch_exec import TorchExecutor

ROW = TensorType.full(i(8), (2,))


def fill(rows=3):
    """Keep the last `rows` inputs."""
    b = GraphBuilder("fill")
    x = b.input("x", ROW)
    window = b.state("window", TensorType.full(i(8), (rows, 2)))
    b.update(window, b.add("pushed", Push(), window, x))
    b.output("out", x)
    return b.build()


def read(rows=3, dtype=None):
    """Contract each input with every row that the state holds from the beginning."""
    b = GraphBuilder("read")
    x = b.input("x", ROW)
    held = b.state("held", TensorType.full(dtype or i(8), (rows, 2)))
    b.update(held, held)
    count = b.state("count", TensorType.full(i(6), (1,)))
    b.update(count, b.add("more", Add(i(6)), count, b.const("one", np.array([1]), i(2))))
    wide = b.add("row", OPS["reshape"]((2,), (1, 2)), x)
    b.output("out", b.add("seen", Contract(), held, wide))
    b.output("count", count)
    return b.build()


def model(states_from=None, direction="forward", reader=None):
    begin = {"held": "one/window"} if states_from is None else states_from
    return Model(
        "m",
        {"in": ROW},
        (
            Segment("one", fill(), {"x": "in"}),
            Segment("two", reader or read(), {"x": "one.out"}, direction, states_from=begin),
        ),
        {"o": "two.out", "n": "two.count"},
    )


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_every_token_sees_the_last_rows_of_the_window(direction):
    x = np.random.default_rng(0).integers(-128, 128, (2, 7, 2))
    got = run(model(direction=direction), {"in": x}, keep=None)
    assert got.outputs["o"].tolist() == np.einsum("btc,brc->btr", x, x[:, -3:]).tolist()
    assert np.array_equal(got.values["two/held"], np.broadcast_to(x[:, None, -3:], (2, 7, 3, 2)))
    assert np.array_equal(got.states["two/held"], x[:, -3:])
    assert got.states["two/count"].tolist() == [[7], [7]]


@pytest.mark.parametrize("use_numba", [False, True])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("lead", [(5,), (2, 3, 1), (1, 2100)])
def test_the_executor_runs_it_alike(use_numba, direction, lead):
    """Also past one chunk of tokens."""
    m = model(direction=direction)
    x = {"in": np.random.default_rng(1).integers(-128, 128, (*lead, 2))}
    want = run(m, x, keep=None)
    got = TorchExecutor(m, use_numba=use_numba).run(x, keep=None)
    assert first_difference(m, want.values, got.values) is None
    assert all(np.array_equal(want.states[n], got.states[n]) for n in want.states)
    assert all(np.array_equal(want.outputs[n], got.outputs[n]) for n in want.outputs)


def test_it_comes_back_from_its_folder_and_is_in_the_hash(tmp_path):
    m, apart = model(), model(states_from={})
    save_model(m, tmp_path / "graph")
    assert load_model(tmp_path / "graph", OPS).text() == m.text()
    assert "segment two forward, held from one/window: x <- one.out" in m.text()
    assert content_hash(m) != content_hash(apart)
    save_model(apart, tmp_path / "apart")
    stored = json.loads((tmp_path / "apart" / GRAPH_FILE).read_text())
    assert all("states_from" not in s for s in stored["model"]["segments"])


def test_such_a_model_is_not_causal():
    assert not model().is_causal
    assert model(states_from={}).is_causal


@pytest.mark.parametrize(
    ("begin", "reader", "said"),
    [
        ({"gone": "one/window"}, None, "state 'gone' starts from 'one/window'"),
        ({"held": "one/gone"}, None, "state 'held' starts from 'one/gone'"),
        ({"held": "two/held"}, None, "state 'held' starts from 'two/held'"),
        ({"held": "one/window"}, read(rows=4), r"is i8\[4,2\] .*, starts from i8\[3,2\]"),
        ({"held": "one/window"}, read(dtype=i(9)), r"is i9\[3,2\] .*, starts from i8\[3,2\]"),
    ],
)
def test_beginnings_that_do_not_fit_are_refused(begin, reader, said):
    with pytest.raises(InternalError, match=said):
        model(states_from=begin, reader=reader)
