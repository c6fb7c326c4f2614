"""Give a graph without weights drawn constants, inside their declared bounds."""

from dataclasses import replace

import numpy as np

from cosim.ir.model import Model
from rtl.units.values import draw


def filled(model: Model, how: str = "random", seed: int = 0) -> Model:
    """Return the model with every constant drawn."""
    rng = np.random.default_rng(seed)
    segments = []
    for segment in model.segments:
        graph = segment.graph
        drawn = {name: draw(rng, graph.types[name], how) for name in graph.consts}
        segments.append(replace(segment, graph=replace(graph, tensors=drawn)))
    return replace(model, segments=tuple(segments))
