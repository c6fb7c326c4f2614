"""Make the graphs that the tests of designs and simulations share; none has weights."""

from functools import cache

from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.op import Op
from cosim.ir.types import TensorType, i
from cosim.ops import Add, Linear, Push, Requant, Slice
from quant.formats import ActFormat, SsmFormat
from quant.from_config import lower_config
from quant.models.bimamba import Config as BiMamba
from quant.models.mamba import Config as Mamba
from quant.models.mamba2 import Config as Mamba2
from quant.passes.lower_graph import LowerGraph
from quant.passes.quantise_weights import QuantiseWeights
from quant.passes.rotate_online import RotateOut
from quant.recipes import Recipe
from quant.weights import WeightFormat

MAMBA2_27B = Mamba2(
    vocab_size=50288, hidden_size=2560, intermediate_size=5120, state_size=128,
    num_hidden_layers=64, num_heads=80, head_dim=64, n_groups=1,
)  # fmt: skip


def recipe(bits: int, state: str = "int16", head_bits: int = 8) -> Recipe:
    """Return a recipe for weights and linear inputs of so many bits, with an online rotation."""
    group = 8 if bits == 4 else 0
    return Recipe(
        f"w{bits}a{bits}",
        "for the tests",
        (
            RotateOut(),
            QuantiseWeights(WeightFormat(bits), kinds=(("lm_head", WeightFormat(head_bits)),)),
            LowerGraph(ActFormat(bits, group=group), SsmFormat(state=state)),
        ),
    )


@cache
def mamba2_27b(bits: int = 4) -> Model:
    """Return Mamba2-2.7B as LightMamba quantises it: group-scaled int8 states."""
    return lower_config("mamba2-2.7b", MAMBA2_27B, recipe(bits, "int8 group"))


@cache
def small_mamba2(layers: int = 3, bits: int = 4, groups: int = 1, heads: int = 6) -> Model:
    """Return a Mamba-2 of sizes that divide badly."""
    config = Mamba2(
        vocab_size=50, hidden_size=24, intermediate_size=heads * 8, state_size=12,
        num_hidden_layers=layers, num_heads=heads, head_dim=8, n_groups=groups,
    )  # fmt: skip
    return lower_config("small", config, recipe(bits))


@cache
def small_mamba1(layers: int = 2) -> Model:
    """Return a Mamba-1."""
    config = Mamba(
        vocab_size=50, hidden_size=24, intermediate_size=48, state_size=4,
        num_hidden_layers=layers, time_step_rank=3,
    )  # fmt: skip
    return lower_config("small1", config, recipe(8))


@cache
def typeseg(layers: int = 2) -> Model:
    """Return a bidirectional Mamba: 4 segments a layer, half of them backward."""
    config = BiMamba(
        hidden_size=24, intermediate_size=24, state_size=4, time_step_rank=3,
        num_hidden_layers=layers, labels=("a", "b", "c"),
    )  # fmt: skip
    return lower_config("typeseg", config, recipe(8))


def projection(rows: int = 10, columns: int = 12) -> Model:
    """Return one linear layer whose two halves are joined again."""
    b = GraphBuilder("step")
    x = b.input("x", TensorType.full(i(8), (columns,)))
    w = b.const("w", TensorType.full(i(8), (rows, columns)))
    m = b.const("m", TensorType(i(8), (rows, 1), 1, 1))
    acc = b.add("acc", Linear(columns), x, w, m)
    half = rows // 2
    s = b.const("s", TensorType(i(8), (1,), 4, 4))
    first = b.add("first", Slice(0, half), acc)
    second = b.add("second", Slice(half, 2 * half), acc)
    one = b.add("one", Requant(i(16)), first, s)
    b.output("y", b.add("sum", Add(i(24)), one, second))
    return model_of(b)


def with_operator(op: Op, *shape: int) -> Model:
    """Return a model of one operator of one input."""
    b = GraphBuilder("step")
    x = b.input("x", TensorType.full(i(8), shape))
    b.output("y", b.add("odd", op, x))
    return model_of(b)


def shared_state() -> Model:
    """Return a graph whose state is written by one unit and read by another."""
    b = GraphBuilder("step")
    x = b.input("x", TensorType.full(i(8), (8,)))
    h = b.state("h", TensorType.full(i(8), (4, 8)))
    b.update("h", b.add("pushed", Push(), h, x))
    s = b.const("s", TensorType(i(8), (1, 1), 0, 0))
    b.output("y", b.add("read", Requant(i(8)), h, s))
    return model_of(b)


def model_of(builder: GraphBuilder) -> Model:
    """Wrap a graph in a model of one segment."""
    graph = builder.build()
    inputs = {n: graph.types[n] for n in graph.inputs}
    segment = Segment("step", graph, {n: n for n in graph.inputs})
    return Model("tiny", inputs, (segment,), {n: f"step.{n}" for n in graph.outputs})


def uneven(widths: tuple[int, ...] = (40, 16, 28), bits: tuple[int, ...] = (4, 4, 4)) -> Model:
    """Return layers that widen 24 values, each to a width of its own, with weights as given."""
    b = GraphBuilder("step")
    x = b.input("x", TensorType.full(i(8), (24,)))
    s = b.const("s", TensorType(i(8), (1,), 4, 4))
    for k, (width, own) in enumerate(zip(widths, bits, strict=True)):
        value = x
        for name, rows, columns in (("up", width, 24), ("down", 24, width)):
            w = b.const(f"layers.{k}.{name}.w", TensorType.full(i(own), (rows, columns)))
            m = b.const(f"layers.{k}.{name}.m", TensorType(i(8), (rows, 1), 1, 1))
            acc = b.add(f"layers.{k}.{name}.acc", Linear(columns), value, w, m)
            value = b.add(f"layers.{k}.{name}", Requant(i(8)), acc, s)
        x = b.add(f"layers.{k}.out", Add(i(8)), x, value)
    b.output("y", b.add("last", Requant(i(8)), x, s))
    return model_of(b)
