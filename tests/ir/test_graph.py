"""A graph is checked as it is built; what could wrap is refused in a sentence."""

import numpy as np
import pytest

from cosim.ir.errors import InternalError, UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.op import Op
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Add, Clip, Embed, Fir, Linear, Mul, Push, Pwl, Requant


def small() -> GraphBuilder:
    """Build x -> window -> fir -> requant, with one more state that starts at 3."""
    b = GraphBuilder("small")
    x = b.input("x", TensorType.full(i(8), (2,)), scale=0.5)
    window = b.state("window", TensorType.full(i(8), (3, 2)))
    pushed = b.add("pushed", Push(), window, x)
    b.update(window, pushed)
    taps = b.const("taps", np.array([[1, 2], [3, -4], [5, 6]]), i(4))
    bias = b.const("bias", np.array([7, -7]), i(8))
    y = b.add("y", Fir(), pushed, taps, bias)
    shift = b.const("shift", np.array([4]), u(3))
    z = b.add("z", Requant(i(6)), y, shift, scale=8)
    first = b.const("first", np.array([3, 3]), i(6))
    last = b.state("last", TensorType.full(i(6), (2,)), init=first)
    b.update(last, z)
    b.output("out", b.add("sum", Add(i(7)), z, last))
    return b


TEXT = """\
graph small
  input x: i8[2] in -128..127
  const taps: i4[3,2] in -4..6
  const bias: i8[2] in -7..7
  const shift: u3[1] in 4..4
  const first: i6[2] in 3..3
  state window: i8[3,2] in -128..127 = 0, next pushed
  state last: i6[2] in -32..31 = first, next z
  pushed = push <- window, x : i8[3,2] in -128..127
  y = fir <- pushed, taps, bias : i13[2] in -2311..2293
  z = requant(dtype=i6) <- y, shift : i6[2] in -32..31 saturating
  sum = add(dtype=i7) <- z, last : i7[2] in -64..62 saturating
  output out = sum
"""


def test_a_graph_prints_as_short_stable_text():
    assert small().build().text() == TEXT


def test_the_network_view_names_kinds_and_delays():
    g = small().build().network()
    assert dict(g.nodes(data="kind")) == {
        "x": "input",
        "taps": "const",
        "bias": "const",
        "shift": "const",
        "first": "const",
        "window": "state",
        "last": "state",
        "pushed": "push",
        "y": "fir",
        "z": "requant",
        "sum": "add",
    }
    delayed = [(a, b) for a, b, delay in g.edges(data="delay") if delay]
    assert delayed == [("pushed", "window"), ("z", "last")]
    assert set(g.predecessors("y")) == {"pushed", "taps", "bias"}


def test_scales_are_annotations_by_value():
    g = small().build()
    assert g.scales == {"x": 0.5, "z": 8.0}
    assert type(g.scales["z"]) is float


def test_a_graph_keeps_its_constants_from_whoever_made_them():
    b, data = GraphBuilder("g"), np.array([1, 2])
    x = b.input("x", TensorType.full(i(8), (2,)))
    b.add("y", Add(i(9)), x, b.const("c", data, i(4)))
    data[0] = 7
    assert b.build().tensors["c"].tolist() == [1, 2]


def test_a_scalar_constant_stays_a_scalar():
    b = GraphBuilder("g")
    x = b.input("x", TensorType.full(i(8), ()))
    b.add("y", Requant(i(8)), x, b.const("s", np.int64(3), u(2)))
    assert b.types["s"].shape == b.build().tensors["s"].shape == ()


def test_without_weights_keeps_structure_and_bounds():
    g = small().build()
    bare = g.without_weights()
    assert (g.has_weights, bare.has_weights) == (True, False)
    assert bare.text() == g.text()


def test_a_constant_may_have_a_type_alone():
    b = GraphBuilder("g")
    x = b.input("x", TensorType.full(i(8), (2,)))
    b.add("y", Add(i(9)), x, b.const("c", TensorType.full(i(4), (2,))))
    assert not b.build().has_weights


class Tight(Op):
    """Claim a type that its own bounds do not fit, without saturating."""

    name = "tight"

    def infer(self, inputs):
        return TensorType(i(8), inputs[0].shape, 0, 128)

    def attributes(self):
        return {}

    def work(self, inputs, out):
        return Work()


def test_a_value_that_would_wrap_is_refused():
    b = GraphBuilder("g")
    x = b.input("x", TensorType.full(i(8), (2,)))
    with pytest.raises(UserError) as error:
        b.add("y", Tight(), x)
    assert str(error.value) == (
        "graph g: node 'y' (tight) can reach 0..128, which i8 (-128..127) cannot hold; widen it or "
        "saturate"
    )


def test_an_intermediate_past_64_bits_is_refused():
    b = GraphBuilder("g")
    x = b.input("x", TensorType.full(i(40), (2,)))
    s = b.const("s", np.array([0]), u(1))
    with pytest.raises(UserError) as error:
        b.add("y", Mul(i(8)), x, x, s)
    assert str(error.value) == (
        "graph g: node 'y' (mul(dtype=i8)) needs 80 bits inside, more than 64; narrow its operands"
    )


def test_the_limit_is_that_of_the_int64_carrier():
    """|x * y| reaches 2^62; the rounding half of shift 63 adds another 2^62."""
    b = GraphBuilder("g")
    x = b.input("x", TensorType.full(i(32), (2,)))
    assert b.add("y", Mul(i(8)), x, x, b.const("s62", np.array([62]), u(6))) == "y"
    with pytest.raises(UserError, match="needs 65 bits inside, more than 64"):
        b.add("z", Mul(i(8)), x, x, b.const("s63", np.array([63]), u(6)))


def test_bounds_of_saturating_nodes_are_clipped_to_the_type():
    b = GraphBuilder("g")
    x = b.input("x", TensorType(i(8), (2,), 100, 120))
    b.add("y", Add(i(6)), x, x)
    assert str(b.types["y"]) == "i6[2] in 31..31"


@pytest.mark.parametrize(
    ("state", "value"),
    [
        (TensorType.full(i(8), (2,)), TensorType.full(i(9), (2,))),
        (TensorType.full(i(8), (2,)), TensorType.full(i(8), (1,))),
        (TensorType(i(8), (2,), -3, 3), TensorType(i(8), (2,), -3, 4)),
        (TensorType.full(i(8), (2,)), TensorType.full(u(8), (2,))),
    ],
    ids=["width", "shape", "bounds", "sign"],
)
def test_a_next_value_of_another_type_is_refused(state, value):
    b = GraphBuilder("g")
    x, s = b.input("x", value), b.state("s", state)
    with pytest.raises(UserError) as error:
        b.update(s, x)
    assert str(error.value) == (
        f"graph g: state 's' is {state} but its next value 'x' is {value}; requantise the value to "
        "the state's type"
    )


def started():
    b = GraphBuilder("g")
    b.input("x", TensorType.full(i(8), (2,)))
    b.const("c", np.array([1, 2]), i(8))
    b.state("s", TensorType.full(i(8), (2,)))
    return b


BYTE = TensorType.full(i(8), (2,))


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda b: b.input("x", BYTE), "value 'x' is declared twice"),
        (lambda b: b.const("x", BYTE), "value 'x' is declared twice"),
        (lambda b: b.state("x", BYTE), "value 'x' is declared twice"),
        (lambda b: b.add("c", Add(i(8)), "x", "x"), "value 'c' is declared twice"),
        (lambda b: b.add("y", Add(i(8)), "x", "gone"), r"node 'y' reads unknown \['gone'\]"),
        (lambda b: b.update("s", "gone"), r"next value of state 's' reads unknown \['gone'\]"),
        (lambda b: b.output("o", "gone"), r"output 'o' reads unknown \['gone'\]"),
        (lambda b: (b.output("o", "x"), b.output("o", "x")), "output 'o' is given twice"),
        (lambda b: b.output("o", "c"), "output 'o' is given twice or shows a constant"),
        (lambda b: (b.update("s", "x"), b.update("s", "x")), "state 's' is updated twice"),
        (lambda b: b.update("s", "c"), "updated twice or by a constant"),
        (lambda b: b.build(), r"states \['s'\] are never updated"),
        (lambda b: b.add("y", Clip(0, 1), "c"), "reads constants only; compute its value"),
        (lambda b: b.const("d", np.array([1])), "constant 'd' has data but no declared type"),
        (lambda b: b.const("d", np.array([0.5]), i(8)), "are not integers; round them first"),
        (lambda b: b.const("d", np.array([200]), i(8)), "data from 200 to 200 does not fit i8"),
        (lambda b: b.state("t", TensorType(i(8), (2,), 1, 9)), "and starts at zero"),
        (lambda b: b.state("t", BYTE, init="x"), "but starts at 'x', .* give a constant"),
        (lambda b: b.state("t", BYTE, init="gone"), r"state 't' reads unknown \['gone'\]"),
        (
            lambda b: b.state("t", TensorType(i(8), (2,), 0, 1), init="c"),
            r"but starts at 'c', i8\[2\] in 1\.\.2",
        ),
    ],
)
def test_a_builder_used_wrongly_says_so(act, said):
    with pytest.raises(InternalError, match=said):
        act(started())


def test_tables_and_matrices_must_be_constants():
    """With batch and time axes in front, a table would be read along the wrong axis."""
    b = GraphBuilder("g")
    x = b.input("x", TensorType.full(u(3), (8,)))
    token = b.input("token", TensorType(u(3), (), 0, 2))
    table = b.input("table", TensorType.full(i(8), (3, 8)))
    multiplier = b.input("m", TensorType.full(i(2), (3, 1)))
    for op, names in [
        (Embed(), (token, table)),
        (Linear(8), (x, table, multiplier)),
        (Pwl(0, 0, 0, i(8)), (token, x, x)),
    ]:
        with pytest.raises(InternalError, match=r"needs a constant, not"):
            b.add("y", op, *names)


def test_graphs_are_compared_by_identity():
    """Arrays have no one truth value: == by fields would raise."""
    a, b = small().build(), small().build()
    assert a == a  # noqa: PLR0124  # the point
    assert a != b
    assert len({a, b}) == 2
