"""Hold a feed-forward network of spiking neurons in integers, and build its step graph.

Glossary: a layer delays its inputs (steps, [K]), multiplies them by integer weights [R, K] and by
`scale`, and drives R neurons. The last layer's spikes are delayed by `output_delays` [R].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.graph import GraphBuilder
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType, smallest_type, u
from cosim.ops import Linear
from quant.lower.neuron import Neuron, add_delays, add_neurons


@dataclass(frozen=True, eq=False)
class SpikingLayer:
    """Hold one layer; all neurons of it are alike."""

    name: str
    weight: np.ndarray
    scale: int
    neuron: Neuron
    delays: np.ndarray


@dataclass(frozen=True, eq=False)
class SpikingNetwork:
    """Hold the layers in order."""

    name: str
    layers: tuple[SpikingLayer, ...]
    output_delays: np.ndarray

    def __post_init__(self) -> None:
        """Raise UserError where layers do not fit each other."""
        if not self.layers:
            raise UserError(f"{self.name}: no dense layer in it; there is nothing to run")
        width = self.layers[0].weight.shape[1]
        names = {"spikes", "output"}
        for layer in self.layers:
            if layer.name in names:
                raise UserError(f"{self.name}: a layer is called {layer.name!r}; rename it")
            names.add(layer.name)
            if layer.weight.ndim != 2 or layer.weight.shape[1] != width:
                raise UserError(
                    f"{self.name}: layer {layer.name} has weights {list(layer.weight.shape)}, but "
                    f"{width} inputs come to it"
                )
            width = layer.weight.shape[0]

    def model(self) -> Model:
        """Return the integer model: input `spikes`, output `fired`, one step a time step."""
        b = GraphBuilder("step")
        width = TensorType.full(u(1), (self.layers[0].weight.shape[1],))
        spikes = b.input("spikes", width)
        for layer in self.layers:
            spikes = _late(b, f"{layer.name}.delayed", spikes, layer.delays)
            spikes = _add_layer(b, layer, spikes)
        b.output("fired", _late(b, "output", spikes, self.output_delays))
        segment = Segment("step", b.build(), {"spikes": "spikes"})
        return Model(self.name, {"spikes": width}, (segment,), {"fired": "step.fired"})


def _late(b: GraphBuilder, name: str, spikes: str, delays: np.ndarray) -> str:
    """Delay spikes where any delay is not 0."""
    return add_delays(b, name, spikes, delays) if delays.any() else spikes


def _add_layer(b: GraphBuilder, layer: SpikingLayer, spikes: str) -> str:
    weight = layer.weight
    low, high = min(int(weight.min()), -1), int(weight.max())
    w = b.const(f"{layer.name}.weight", weight, smallest_type(low, high))
    scale = np.full((len(weight), 1), layer.scale)
    m = b.const(f"{layer.name}.scale", scale, smallest_type(0, layer.scale))
    drive = b.add(f"{layer.name}.drive", Linear(weight.shape[1]), spikes, w, m)
    return add_neurons(b, layer.name, drive, layer.neuron)


def whole(what: str, values: np.ndarray) -> np.ndarray:
    """Return whole numbers that a file stores as floats; raise UserError for others."""
    rounded = np.rint(np.asarray(values, dtype=np.float64))
    if not np.array_equal(rounded, values):
        first = np.asarray(values).reshape(-1)[0]
        raise UserError(f"{what} are not integers (such as {first}); quantise them first")
    return rounded.astype(np.int64)
