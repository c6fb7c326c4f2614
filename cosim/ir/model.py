"""Join step graphs into a model: a short list of segments over one window of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cosim.ir.errors import InternalError
from cosim.ir.graph import Graph
from cosim.ir.types import TensorType

Direction = Literal["forward", "backward"]


@dataclass(frozen=True)
class Segment:
    """Run one step graph over the window, forward or backward in time.

    `wires` maps each graph input to a sequence: an input of the model, or `segment.output` of an
    earlier segment. With `look_ahead` = L the graph reads L steps of zeros after the window's end
    and the first L of its outputs are dropped, so that output t has seen input t + L.
    """

    name: str
    graph: Graph
    wires: Mapping[str, str]
    direction: Direction = "forward"
    look_ahead: int = 0


@dataclass(frozen=True)
class Model:
    """Hold a model: its segments in order, and the sequence behind each of its outputs."""

    name: str
    inputs: Mapping[str, TensorType]
    segments: tuple[Segment, ...]
    outputs: Mapping[str, str]

    def __post_init__(self) -> None:
        """Check that every wire and output is fed by something earlier, with the same type."""
        known: dict[str, TensorType] = dict(self.inputs)
        for seg in self.segments:
            if seg.look_ahead < 0 or set(seg.wires) != set(seg.graph.inputs):
                raise InternalError(
                    f"segment {seg.name!r}: wires {sorted(seg.wires)} must be its graph's inputs "
                    f"{sorted(seg.graph.inputs)} and look_ahead ({seg.look_ahead}) not negative"
                )
            if seg.direction == "backward" and seg.look_ahead:
                raise InternalError(f"segment {seg.name!r}: look-ahead runs forward only")
            for name, source in seg.wires.items():
                if source not in known:
                    raise InternalError(f"segment {seg.name!r}: input {name!r} reads {source!r}")
                got, want = known[source], seg.graph.types[name]
                if (got.dtype, got.shape) != (want.dtype, want.shape):
                    raise InternalError(
                        f"segment {seg.name!r}: input {name!r} is {want}, fed with {got}"
                    )
            for out, value in seg.graph.outputs.items():
                known[f"{seg.name}.{out}"] = seg.graph.types[value]
        for out, source in self.outputs.items():
            if source not in known:
                raise InternalError(f"model {self.name!r}: output {out!r} reads {source!r}")

    @property
    def is_causal(self) -> bool:
        """Tell whether the model can run token by token: one pass forward, no look-ahead."""
        return all(s.direction == "forward" and s.look_ahead == 0 for s in self.segments)

    @property
    def has_weights(self) -> bool:
        """Tell whether every constant of every segment has data."""
        return all(s.graph.has_weights for s in self.segments)

    def without_weights(self) -> Model:
        """Return the same structure without data."""
        bare = tuple(replace(s, graph=s.graph.without_weights()) for s in self.segments)
        return replace(self, segments=bare)

    def output_type(self, name: str) -> TensorType:
        """Return the type of a model output."""
        seg_name, out = self.outputs[name].split(".", 1)
        graph = next(s.graph for s in self.segments if s.name == seg_name)
        return graph.types[graph.outputs[out]]

    def output_scale(self, name: str) -> float | None:
        """Return the real value of one LSB of a model output, if it is annotated."""
        seg_name, out = self.outputs[name].split(".", 1)
        graph = next(s.graph for s in self.segments if s.name == seg_name)
        return graph.scales.get(graph.outputs[out])

    def text(self) -> str:
        """Print as short stable text."""
        lines = [f"model {self.name}"]
        lines += [f"input {n}: {t}" for n, t in self.inputs.items()]
        for s in self.segments:
            wires = ", ".join(f"{k} <- {v}" for k, v in s.wires.items())
            ahead = f", look-ahead {s.look_ahead}" if s.look_ahead else ""
            lines.append(f"segment {s.name} {s.direction}{ahead}: {wires}")
            lines.append(s.graph.text().rstrip("\n"))
        lines += [f"output {n} = {v}" for n, v in self.outputs.items()]
        return "\n".join(lines) + "\n"
