"""Build a model's segments one after another, passing sequences between them by port name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.model import Direction, Model, Segment
from cosim.ir.types import TensorType
from quant.lower.emit import Emitter, Fx


@dataclass(frozen=True)
class Port:
    """Say where a sequence comes from, its type and its binary point."""

    source: str
    type: TensorType
    frac: np.ndarray


class Chain:
    """Hold the finished segments and the open one (`em`)."""

    def __init__(self, has_weights: bool) -> None:
        """Start with nothing."""
        self._has_weights = has_weights
        self._segments: list[Segment] = []
        self._ports: dict[str, Port] = {}
        self._given: dict[str, Fx] = {}
        self._wires: dict[str, str] = {}
        self._begin: dict[str, str] = {}
        self._direction: Direction = "forward"
        self._look_ahead = 0
        self.em = Emitter("", has_weights)

    def open(self, name: str, direction: Direction = "forward", look_ahead: int = 0) -> Emitter:
        """Start the next segment."""
        self.em = Emitter(name, self._has_weights)
        self._direction, self._look_ahead = direction, look_ahead
        self._given, self._wires, self._begin = {}, {}, {}
        return self.em

    def bring(self, port: str) -> Fx:
        """Declare a sequence of an earlier segment as an input of the open one."""
        p = self._ports[port]
        values = np.unique(p.frac)
        scale = float(2.0 ** -float(values[0])) if values.size == 1 else None
        self.em.builder.input(port, p.type, scale)
        self._wires[port] = p.source
        return Fx(port, p.frac)

    def begin(self, state: str, source: str) -> None:
        """Let a state of the open segment start from an earlier `segment/state`."""
        self._begin[state] = source

    def give(self, port: str, value: Fx) -> None:
        """Offer a value of the open segment to later ones."""
        self.em.builder.output(port, value.name)
        self._given[port] = value

    def close(self) -> None:
        """Finish the open segment."""
        graph = self.em.builder.build()
        wires = {n: self._wires.get(n, n) for n in graph.inputs}
        self._segments.append(
            Segment(graph.name, graph, wires, self._direction, self._look_ahead, self._begin)
        )
        for port, value in self._given.items():
            self._ports[port] = Port(f"{graph.name}.{port}", graph.types[value.name], value.frac)

    def model(self, name: str) -> Model:
        """Return the model: inputs of the first segment, outputs of the last."""
        first, last = self._segments[0].graph, self._segments[-1].graph
        inputs = {n: first.types[n] for n in first.inputs}
        outputs = {n: f"{last.name}.{n}" for n in last.outputs}
        return Model(name, inputs, tuple(self._segments), outputs)
