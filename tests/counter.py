"""A small causal or backward model whose state can be counted by hand."""

import numpy as np

from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, i, u
from cosim.ops import Add, Argmax, Embed


def counter_model(vocabulary: int = 256, direction: str = "forward") -> Model:
    """Return a model that counts (token + 1) % 4 in its state; the next is the most frequent."""
    token_type = TensorType(u(9), (), 0, vocabulary - 1)
    table = np.zeros((vocabulary, 4), dtype=np.int64)
    table[np.arange(vocabulary), (np.arange(vocabulary) + 1) % 4] = 1
    b = GraphBuilder("counter")
    row = b.add("row", Embed(), b.input("token", token_type), b.const("table", table, i(4)))
    total = b.add("total", Add(i(8)), b.state("seen", TensorType.full(i(8), (4,))), row)
    b.update("seen", total)
    b.output("next", b.add("next", Argmax(), total))
    segment = Segment("step", b.build(), {"token": "token"}, direction)
    return Model("counter", {"token": token_type}, (segment,), {"next": "step.next"})
