"""Make graphs of several linear layers that one matrix unit serves."""

import random

from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model
from cosim.ir.types import IntType, TensorType, i
from cosim.ops import Linear
from tests.hw_models.graphs import model_of
from tests.rtl.units.filled import filled


def linears(*shapes, how: str = "random", seed: int = 0) -> Model:
    """Return a model of some linear layers: (rows, K, weight bits, activation bits, weight group,
    activation group, mantissa bits), each of inputs of its own."""
    b = GraphBuilder("step")
    for n, (rows, k, w_bits, q_bits, weight_group, act_group, mantissa) in enumerate(shapes):
        q = b.input(f"q{n}", TensorType.full(i(q_bits), (k,)))
        w = b.const(f"w{n}", TensorType.full(i(w_bits), (rows, k)))
        m = b.const(
            f"m{n}", TensorType.full(IntType(8, signed=False), (rows, -(-k // weight_group)))
        )
        inputs = [q, w, m]
        if act_group:
            most = (9 << mantissa) - 1
            code = TensorType(
                IntType(most.bit_length(), signed=False), (-(-k // act_group),), 0, most
            )
            inputs.append(b.input(f"c{n}", code))
        b.output(f"y{n}", b.add(f"acc{n}", Linear(weight_group, act_group, mantissa), *inputs))
    return filled(model_of(b), how, seed)


def drawn(seed: int, how: str = "random") -> Model:
    """Return one to three layers whose sizes and groups divide one another or do not."""
    rng = random.Random(seed)
    shapes = []
    for _ in range(rng.randint(1, 3)):
        k = rng.randint(1, 40)
        mantissa = rng.choice([0, 0, 2, 3])
        group = rng.choice([0, 1, 2, 3, 4, 5, 8, 16, 64])
        shapes.append(
            (
                rng.randint(1, 23), k, rng.choice([4, 8, 4, 8, 3, 5]), rng.choice([4, 8]),
                rng.choice([k, k, 64, rng.randint(1, k), 4, 8]), group, mantissa if group else 0,
            )
        )  # fmt: skip
    return linears(*shapes, how=how, seed=seed)
