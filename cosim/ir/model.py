"""Join step graphs into a model: a short list of segments over one window of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    `states_from` maps states to `segment/state`s of earlier segments: they start from what those
    were after the window, as bidirectional attention reads a cache that was filled before.
    """

    name: str
    graph: Graph
    wires: Mapping[str, str]
    direction: Direction = "forward"
    look_ahead: int = 0
    states_from: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """Hold a model: its segments in order, and the sequence behind each of its outputs."""

    name: str
    inputs: Mapping[str, TensorType]
    segments: tuple[Segment, ...]
    outputs: Mapping[str, str]

    def __post_init__(self) -> None:
        """Check that every wire and output is fed by something earlier that fits it."""
        known: dict[str, TensorType] = dict(self.inputs)
        keys: set[str] = set()
        ended: dict[str, TensorType] = {}
        for seg in self.segments:
            # Runs and files name values `segment/value`: no two may share such a name.
            own = {f"{seg.name}/{value}" for value in seg.graph.types}
            if keys & own:
                raise InternalError(f"model {self.name!r}: {min(keys & own)!r} names two values")
            keys |= own
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
                fits = (got.dtype, got.shape) == (want.dtype, want.shape)
                if not fits or got.lo < want.lo or got.hi > want.hi:
                    raise InternalError(
                        f"segment {seg.name!r}: input {name!r} is {want}, fed with {got}"
                    )
                if seg.look_ahead and not want.lo <= 0 <= want.hi:
                    raise InternalError(
                        f"segment {seg.name!r}: input {name!r} is {want}, but look-ahead reads "
                        "zeros past the end"
                    )
            _check_begin(seg, ended)
            ended.update({f"{seg.name}/{n}": s.type for n, s in seg.graph.states.items()})
            for out, value in seg.graph.outputs.items():
                if f"{seg.name}.{out}" in known:
                    raise InternalError(
                        f"model {self.name!r}: {seg.name}.{out} names two sequences"
                    )
                known[f"{seg.name}.{out}"] = seg.graph.types[value]
        for out, source in self.outputs.items():
            if source not in known:
                raise InternalError(f"model {self.name!r}: output {out!r} reads {source!r}")

    @property
    def is_causal(self) -> bool:
        """Tell whether the model can run token by token: one pass forward, no look-ahead."""
        return all(
            s.direction == "forward" and s.look_ahead == 0 and not s.states_from
            for s in self.segments
        )

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
        source = self._source(name)
        if source is None:
            return self.inputs[self.outputs[name]]
        graph, value = source
        return graph.types[value]

    def output_scale(self, name: str) -> float | None:
        """Return the real value of one LSB of a model output, if it is annotated."""
        source = self._source(name)
        if source is None:
            return None
        graph, value = source
        return graph.scales.get(value)

    def _source(self, output: str) -> tuple[Graph, str] | None:
        """Return the graph and value behind an output; None where it shows a model input."""
        for seg in self.segments:
            for out, value in seg.graph.outputs.items():
                if f"{seg.name}.{out}" == self.outputs[output]:
                    return seg.graph, value
        return None

    def text(self) -> str:
        """Print as short stable text."""
        lines = [f"model {self.name}"]
        lines += [f"input {n}: {t}" for n, t in self.inputs.items()]
        for s in self.segments:
            wires = ", ".join(f"{k} <- {v}" for k, v in s.wires.items())
            ahead = f", look-ahead {s.look_ahead}" if s.look_ahead else ""
            begin = "".join(f", {k} from {v}" for k, v in s.states_from.items())
            lines.append(f"segment {s.name} {s.direction}{ahead}{begin}: {wires}")
            lines.append(s.graph.text().rstrip("\n"))
        lines += [f"output {n} = {v}" for n, v in self.outputs.items()]
        return "\n".join(lines) + "\n"


def _check_begin(seg: Segment, ended: Mapping[str, TensorType]) -> None:
    """Raise InternalError where a state starts from what is no earlier state of its type."""
    for name, source in seg.states_from.items():
        if name not in seg.graph.states or source not in ended:
            raise InternalError(f"segment {seg.name!r}: state {name!r} starts from {source!r}")
        got, want = ended[source], seg.graph.states[name].type
        fits = (got.dtype, got.shape) == (want.dtype, want.shape)
        if not fits or got.lo < want.lo or got.hi > want.hi:
            raise InternalError(
                f"segment {seg.name!r}: state {name!r} is {want}, starts from {got}"
            )
