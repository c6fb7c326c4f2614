"""The reference equals a loop in plain Python, and refuses what does not fit in a sentence."""

import math
from fractions import Fraction

import numpy as np
import pytest

from cosim.ir.errors import InternalError, UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.ops import Add, Embed
from cosim.reference import initial_states, run, step
from tests.ir.test_graph import small
from tests.random_graphs import data_for, random_model

BYTES = TensorType.full(i(8), (2,))


def model_of(graph=None, direction="forward", look_ahead=0):
    graph = graph or small().build()
    segment = Segment("s", graph, {"x": "in"}, direction, look_ahead)
    return Model("m", {"in": BYTES}, (segment,), {o: f"s.{o}" for o in graph.outputs})


def by_hand(tokens):
    """Run the graph of `small` in Python: a filter of three taps, a rounding, a sum with a delay.

    Return the sums, the last window and z, and how often each of both nodes saturated.
    """
    taps, bias = [[1, 2], [3, -4], [5, 6]], [7, -7]
    window, last = [[0, 0]] * 3, [3, 3]
    sums, clipped = [], {"s/z": 0, "s/sum": 0}
    for x in tokens:
        window = [*window[1:], x]
        z, total = [], []
        for c in range(2):
            y = bias[c] + sum(window[k][c] * taps[k][c] for k in range(3))
            rounded = math.floor(Fraction(y, 16) + Fraction(1, 2))
            z.append(min(max(rounded, -32), 31))
            clipped["s/z"] += z[c] != rounded
            raw = z[c] + last[c]
            total.append(min(max(raw, -64), 63))
            clipped["s/sum"] += total[c] != raw
        last = z
        sums.append(total)
    return sums, window, last, clipped


@pytest.mark.parametrize("kind", ["random", "high", "low", "corners"])
def test_equals_a_loop_in_python(kind):
    model = model_of()
    x = data_for(model, np.random.default_rng(0), (40,), kind)
    got = run(model, x, keep=None)
    sums, window, last, clipped = by_hand(x["in"].tolist())
    assert got.outputs["out"].tolist() == sums
    assert got.states["s/window"].tolist() == window
    assert got.states["s/last"].tolist() == last
    assert dict(got.clipped) == clipped
    assert got.elements == {"s/z": 80, "s/sum": 80}
    assert clipped["s/z"] > 0 or kind == "low", "nothing saturated: the count shows nothing"


def test_keeps_states_as_they_were_before_their_token():
    x = {"in": np.arange(8).reshape(4, 2)}
    got = run(model_of(), x, keep=None)
    assert got.values["s/window"][0].tolist() == [[0, 0]] * 3
    assert got.values["s/window"][3].tolist() == got.values["s/pushed"][2].tolist()
    assert got.values["s/last"][0].tolist() == [3, 3]
    assert got.values["s/x"].tolist() == x["in"].tolist()
    assert set(got.values) == {f"s/{n}" for n in ("x", "window", "last", "pushed", "y", "z", "sum")}


def test_keeps_only_what_is_asked_for():
    x = {"in": np.arange(8).reshape(4, 2)}
    assert run(model_of(), x).values == {}
    assert set(run(model_of(), x, keep=["s/z", "s/last"]).values) == {"s/z", "s/last"}


def test_two_windows_equal_one():
    x = np.random.default_rng(1).integers(-128, 128, (11, 2))
    whole = run(model_of(), {"in": x}, keep=None)
    first = run(model_of(), {"in": x[:4]}, keep=None)
    second = run(model_of(), {"in": x[4:]}, first.states, keep=None)
    for name, value in whole.values.items():
        assert np.array_equal(value, np.concatenate([first.values[name], second.values[name]]))
    assert all(np.array_equal(whole.states[n], second.states[n]) for n in whole.states)
    assert whole.clipped == first.clipped + second.clipped


def test_a_window_does_not_change_the_states_it_was_given():
    first = run(model_of(), {"in": np.full((3, 2), 9)})
    before = {n: s.copy() for n, s in first.states.items()}
    run(model_of(), {"in": np.full((3, 2), -9)}, first.states)
    assert all(np.array_equal(before[n], first.states[n]) for n in before)


def test_batch_axes_are_runs_apart():
    x = np.random.default_rng(2).integers(-128, 128, (2, 3, 7, 2))
    whole = run(model_of(), {"in": x}, keep=None)
    for where in np.ndindex(2, 3):
        alone = run(model_of(), {"in": x[where]}, keep=None)
        for name, value in alone.values.items():
            assert np.array_equal(whole.values[name][where], value)
        for name, state in alone.states.items():
            assert np.array_equal(whole.states[name][where], state)


def test_backward_is_forward_on_the_reversed_window():
    x = np.random.default_rng(3).integers(-128, 128, (9, 2))
    back = run(model_of(direction="backward"), {"in": x}, keep=None)
    forth = run(model_of(), {"in": x[::-1]}, keep=None)
    assert np.array_equal(back.outputs["out"], forth.outputs["out"][::-1])
    for name, value in forth.values.items():
        assert np.array_equal(back.values[name], value[::-1])
    assert all(np.array_equal(back.states[n], forth.states[n]) for n in back.states)


def test_look_ahead_reads_zeros_and_drops_the_first_outputs():
    x = np.random.default_rng(4).integers(-128, 128, (9, 2))
    ahead = run(model_of(look_ahead=2), {"in": x}, keep=None)
    padded = run(model_of(), {"in": np.concatenate([x, np.zeros((2, 2), np.int64)])}, keep=None)
    assert np.array_equal(ahead.outputs["out"], padded.outputs["out"][2:])
    assert np.array_equal(ahead.values["s/sum"], padded.values["s/sum"])
    assert ahead.elements["s/z"] == 22


def test_one_step_returns_every_value():
    graph = small().build()
    states = {"window": np.zeros((3, 2), np.int64), "last": np.array([1, 2])}
    values = step(graph, {"x": np.array([100, 100])}, states)
    assert set(values) == set(graph.types)
    assert values["z"].tolist() == [31, 31]


def test_first_states_are_zero_or_the_constant_given():
    first = initial_states(model_of(), (4,))
    assert first["s/window"].shape == (4, 3, 2)
    assert not first["s/window"].any()
    assert first["s/last"].tolist() == [[3, 3]] * 4
    first["s/last"][0] = 9  # a copy of its own, not a view of the constant
    assert initial_states(model_of())["s/last"].tolist() == [3, 3]


def test_a_counter_needs_no_input():
    b = GraphBuilder("g")
    x = b.input("x", BYTES)
    n = b.state("n", TensorType.full(i(4), (1,)))
    b.update(n, b.add("next", Add(i(4)), n, b.const("two", np.array([2]), i(3))))
    b.output("x", x)
    b.output("n", "next")
    got = run(model_of(b.build()), {"in": np.zeros((2, 5, 2), np.int64)})
    assert got.outputs["n"].tolist() == [[[2], [4], [6], [7], [7]]] * 2
    assert got.clipped == {"s/next": 4}


def test_segments_feed_each_other():
    forth, back = small().build(), small().build()
    b = GraphBuilder("sum")
    p, q = (b.input(n, forth.types["sum"]) for n in "pq")
    b.output("out", b.add("both", Add(i(8)), p, q))
    segments = (
        Segment("f", forth, {"x": "in"}),
        Segment("b", back, {"x": "in"}, "backward"),
        Segment("s", b.build(), {"p": "f.out", "q": "b.out"}),
    )
    model = Model("m", {"in": BYTES}, segments, {"out": "s.out", "same": "in"})
    x = np.random.default_rng(5).integers(-128, 128, (6, 2))
    got = run(model, {"in": x})
    sums = by_hand(x.tolist())[0], by_hand(x[::-1].tolist())[0][::-1]
    assert got.outputs["out"].tolist() == (np.array(sums[0]) + np.array(sums[1])).tolist()
    assert got.outputs["same"].tolist() == x.tolist()


GOOD = np.zeros((4, 2), dtype=np.int64)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "model m: input 'in' is missing"),
        ({"in": GOOD, "out": GOOD}, r"model m has no input 'out'; its inputs are \['in'\]"),
        ({"in": GOOD[0]}, r"input 'in' must be integers \[\.\.\., T, \*\(2,\)\], got int64 \(2,\)"),
        ({"in": GOOD[:, :1]}, r"must be integers .*, got int64 \(4, 1\)"),
        ({"in": GOOD.astype(float)}, "must be integers .*, got float64"),
        ({"in": GOOD + 128}, r"input 'in' holds 128\.\.128, outside -128\.\.127"),
        ({"in": GOOD - 129}, r"input 'in' holds -129\.\.-129, outside"),
        ({"in": GOOD.astype(np.uint64) + np.uint64(2**64 - 1)}, r"holds 18446744073709551615\.\."),
        ({"in": GOOD[:0]}, r"the window \[0\] is empty; give at least one token"),
        ({"in": np.zeros((0, 4, 2), int)}, r"the window \[0, 4\] is empty"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, said):
    with pytest.raises(UserError, match=said):
        run(model_of(), inputs)


def test_inputs_of_different_lengths_are_refused():
    b = GraphBuilder("g")
    b.output("o", b.add("y", Add(i(9)), b.input("p", BYTES), b.input("q", BYTES)))
    model = Model(
        "m",
        {"p": BYTES, "q": BYTES},
        (Segment("s", b.build(), {"p": "p", "q": "q"}),),
        {"o": "s.o"},
    )
    with pytest.raises(UserError, match=r"inputs have different lengths \[\(3,\), \(4,\)\]"):
        run(model, {"p": GOOD, "q": GOOD[:3]})


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_any_integer_type_will_do(dtype):
    x = np.arange(12).reshape(6, 2)
    want = run(model_of(), {"in": x}).outputs["out"]
    assert np.array_equal(run(model_of(), {"in": x.astype(dtype)}).outputs["out"], want)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("s/last"), "model m: state 's/last' is missing"),
        (lambda s: s.update({"s/last": np.zeros(3, int)}), r"must be integers \[2\] in -32\.\.31"),
        (lambda s: s.update({"s/last": np.array([0, 32])}), r"in -32\.\.31, got int64 \[2\]"),
        (lambda s: s.update({"s/last": np.array([0.0, 1.0])}), "got float64"),
    ],
)
def test_states_that_do_not_fit_are_refused(change, said):
    states = initial_states(model_of())
    change(states)
    with pytest.raises(UserError, match=said):
        run(model_of(), {"in": GOOD}, states)


def test_states_of_another_batch_are_refused():
    with pytest.raises(UserError, match="give the states of an earlier window of the same batch"):
        run(model_of(), {"in": GOOD}, initial_states(model_of(), (2,)))


def test_only_causal_models_go_on_from_states():
    for model in (model_of(direction="backward"), model_of(look_ahead=1)):
        with pytest.raises(UserError, match="is not causal: it has no state to continue from"):
            run(model, {"in": GOOD}, initial_states(model))


def test_an_unknown_value_to_keep_is_our_fault():
    for name in ("s/gone", "z", "s/taps"):
        with pytest.raises(InternalError, match=f"model m has no value '{name}' to keep"):
            run(model_of(), {"in": GOOD}, keep=[name])


def test_a_model_without_weights_cannot_run():
    with pytest.raises(UserError, match="it can be simulated but not run"):
        run(model_of().without_weights(), {"in": GOOD})


@pytest.mark.parametrize("seed", range(8))
def test_every_value_stays_inside_its_proved_bounds(seed):
    """Random graphs of all operators, inputs at the ends of their range."""
    model = random_model(seed)
    for kind in ("random", "corners", "high", "low"):
        x = data_for(model, np.random.default_rng(seed), (6,), kind)
        got = run(model, x, keep=None)
        for seg in model.segments:
            for name, t in seg.graph.types.items():
                if name not in seg.graph.consts:
                    value = got.values[f"{seg.name}/{name}"]
                    assert value.dtype == np.int64
                    assert t.lo <= value.min()
                    assert value.max() <= t.hi


def test_tokens_of_a_scalar_input():
    b = GraphBuilder("g")
    token = b.input("x", TensorType(u(3), (), 0, 4))
    table = b.const("table", np.arange(10).reshape(5, 2), i(8))
    b.output("o", b.add("row", Embed(), token, table))
    model = Model("m", {"in": b.types["x"]}, (Segment("s", b.build(), {"x": "in"}),), {"o": "s.o"})
    assert run(model, {"in": np.array([4, 0])}).outputs["o"].tolist() == [[8, 9], [0, 1]]
