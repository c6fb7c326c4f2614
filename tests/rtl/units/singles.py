"""Make graphs of operators of one input, which a norm or a Hadamard unit serves one by one."""

from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model
from cosim.ir.types import IntType, TensorType
from tests.hw_models.graphs import model_of


def singles(*cases) -> Model:
    """Return a model of operators side by side: (operator, shape, type of the input, lo, hi)."""
    b = GraphBuilder("step")
    for n, (op, shape, dtype, *ends) in enumerate(cases):
        type_ = IntType.parse(dtype)
        lo, hi = ends or (type_.lo, type_.hi)
        x = b.input(f"x{n}", TensorType(type_, shape, lo, hi))
        b.output(f"y{n}", b.add(f"node{n}", op, x))
    return model_of(b)
