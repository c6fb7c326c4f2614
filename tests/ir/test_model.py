"""A model joins segments; what feeds them is checked."""

import numpy as np
import pytest

from cosim.ir.errors import InternalError
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.ops import Add, Clip

BYTE = TensorType.full(i(8), (2,))


def graph(name="g", type_=BYTE, scale=None):
    b = GraphBuilder(name)
    x = b.input("x", type_)
    b.output("out", b.add("y", Add(i(8)), x, b.const("c", np.array([0, 2]), i(4)), scale=scale))
    return b.build()


def model(*segments, inputs=None, outputs=None):
    last = f"{segments[-1].name}.out" if segments else "in"
    return Model("m", inputs or {"in": BYTE}, segments, outputs or {"o": last})


TWO = (
    Segment("one", graph("first"), {"x": "in"}),
    Segment("two", graph("second", scale=0.25), {"x": "one.out"}, "backward"),
)


def test_a_model_prints_as_short_stable_text():
    ahead = Segment("three", graph("third"), {"x": "two.out"}, look_ahead=2)
    lines = model(*TWO, ahead).text().splitlines()
    assert [line for line in lines if not line.startswith(("graph", "  "))] == [
        "model m",
        "input in: i8[2] in -128..127",
        "segment one forward: x <- in",
        "segment two backward: x <- one.out",
        "segment three forward, look-ahead 2: x <- two.out",
        "output o = three.out",
    ]
    assert lines[3] == "graph first"


def test_only_one_pass_forward_is_causal():
    assert model(TWO[0]).is_causal
    assert not model(*TWO).is_causal
    assert not model(Segment("one", graph(), {"x": "in"}, look_ahead=1)).is_causal


def test_outputs_know_their_type_and_scale():
    m = model(*TWO, outputs={"a": "one.out", "b": "two.out", "c": "in"})
    assert [m.output_type(n) for n in "abc"] == [BYTE, BYTE, BYTE]
    assert [m.output_scale(n) for n in "abc"] == [None, 0.25, None]


def test_names_may_hold_dots():
    m = model(Segment("layer.0", graph(), {"x": "in"}))
    assert m.output_type("o") == BYTE


def test_without_weights():
    assert model(*TWO).has_weights
    bare = model(*TWO).without_weights()
    assert not bare.has_weights
    assert bare.text() == model(*TWO).text()


NARROW = TensorType(i(8), (2,), -5, 5)
POSITIVE = TensorType(u(8), (2,), 1, 9)


def clipping():
    b = GraphBuilder("g")
    b.output("out", b.add("y", Clip(1, 3), b.input("x", POSITIVE)))
    return b.build()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: model(Segment("s", graph(), {})), r"wires \[\] must be its graph's inputs"),
        (lambda: model(Segment("s", graph(), {"x": "gone"})), "input 'x' reads 'gone'"),
        (lambda: model(Segment("s", graph(), {"x": "in"}, look_ahead=-1)), r"look_ahead \(-1\)"),
        (
            lambda: model(Segment("s", graph(), {"x": "in"}, "backward", 1)),
            "look-ahead runs forward only",
        ),
        (lambda: model(TWO[1], TWO[0]), "input 'x' reads 'one.out'"),
        (lambda: model(TWO[0], outputs={"o": "one.gone"}), "output 'o' reads 'one.gone'"),
        (lambda: model(TWO[0], TWO[0]), "'one/[cxy]' names two values"),
        (
            lambda: model(TWO[0], inputs={"in": TensorType.full(i(9), (2,))}),
            r"input 'x' is i8\[2\] in -128..127, fed with i9",
        ),
        (
            lambda: model(Segment("s", graph(type_=NARROW), {"x": "in"})),
            r"is i8\[2\] in -5\.\.5, fed with i8\[2\] in -128\.\.127",
        ),
        (
            lambda: model(
                Segment("s", clipping(), {"x": "in"}, look_ahead=1), inputs={"in": POSITIVE}
            ),
            "look-ahead reads zeros past the end",
        ),
        (
            lambda: model(Segment("a", graph(), {"x": "in"}), inputs={"in": BYTE, "a.out": BYTE}),
            "a.out names two sequences",
        ),
    ],
)
def test_segments_that_do_not_join_are_refused(make, said):
    with pytest.raises(InternalError, match=said):
        make()


def test_narrower_values_may_feed_wider_inputs():
    assert model(TWO[0], inputs={"in": NARROW}).is_causal
