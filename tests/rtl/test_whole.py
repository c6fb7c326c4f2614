"""Whole designs: every bit of every output, and the cycle of every beat."""

import numpy as np
import pytest

from cosim.design.choices import Lanes
from cosim.ir.graph import GraphBuilder
from cosim.ir.types import TensorType, i
from cosim.ops import Linear
from tests.hw_models.graphs import model_of
from tests.rtl.simulators import ALL
from tests.rtl.whole import check, design_of

STREAMED = (("weights", "memory"), ("states", "chip"), ("embedding", "chip"))


def projection(rows: int, columns: int, seed: int = 0):
    """Return one linear layer with weights."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("step")
    x = b.input("x", TensorType.full(i(8), (columns,)))
    w = b.const("w", rng.integers(-128, 128, (rows, columns)), i(8))
    m = b.const("m", rng.integers(1, 100, (rows, 1)), i(8))
    b.output("y", b.add("acc", Linear(columns), x, w, m))
    return model_of(b)


@pytest.mark.parametrize("simulator", ALL)
@pytest.mark.parametrize("widths", [Lanes(4, 4, 4, 4, 8), Lanes(3, 5, 4, 7, 2)])
def test_weights_come_when_the_memory_serves_them(widths, simulator):
    """A port of the memory slower than the unit, with few beats ahead."""
    model = projection(21, 33)
    machine, design = design_of(model, widths, STREAMED)
    values = np.random.default_rng(1).integers(-128, 128, (3, 33))
    values[0], values[1] = -128, 127
    check(model, machine, design, {"x": values}, simulator)
