"""Rewrite an integer model so that its linear layers take spikes: same integers, other arithmetic.

Each `linear` becomes `spike_encode` and `spike_linear`; where the time steps do not hold the proved
range of its input, a `clip` stands before them, and nothing else may change a bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cosim.ir.errors import InternalError, UserError
from cosim.ir.graph import Graph, GraphBuilder, Node
from cosim.ir.model import Model, Segment
from cosim.ir.types import TensorType
from cosim.ops import Clip, Linear, SpikeEncode, SpikeLinear
from cosim.ops.spike_encode import RATE, count_range, steps_for

CLIPPED, SPIKES = ".clipped", ".spikes"


@dataclass(frozen=True)
class SpikeForm:
    """Choose a coding, its order, and its time steps; 0: as many as the proved range needs."""

    coding: str = "sign_magnitude"
    steps: int = 0
    highest_first: bool = False

    def steps_of(self, counts: TensorType) -> int:
        """Return the steps for counts of a type; raise UserError where no number would do."""
        wanted = steps_for(self.coding, counts.lo, counts.hi)
        if wanted is None:
            raise UserError(
                f"spikes: {self.coding} has no sign, but counts are {counts}; choose a signed one"
            )
        return min(self.steps, wanted) if self.steps else wanted


def spiked(model: Model, form: SpikeForm) -> Model:
    """Return the model with spikes before every linear layer."""
    known: dict[str, TensorType] = dict(model.inputs)
    segments: list[Segment] = []
    for segment in model.segments:
        graph = _spiked_graph(segment.graph, form, {n: known[w] for n, w in segment.wires.items()})
        segments.append(replace(segment, graph=graph))
        known |= {f"{segment.name}.{o}": graph.types[v] for o, v in graph.outputs.items()}
    return replace(model, segments=tuple(segments))


def _spiked_graph(graph: Graph, form: SpikeForm, inputs: Mapping[str, TensorType]) -> Graph:
    b = GraphBuilder(graph.name)
    for name, type_ in inputs.items():
        b.input(name, type_, graph.scales.get(name))
    for name in graph.consts:
        type_ = graph.types[name]
        data = graph.tensors.get(name, type_)
        b.const(name, data, type_.dtype, graph.scales.get(name))
    for name, state in graph.states.items():
        b.state(name, state.type, graph.scales.get(name), state.init)
    for node in graph.nodes:
        inputs_, op = node.inputs, node.op
        if isinstance(op, Linear):
            spikes, inner = _encode(b, node, form)
            inputs_, op = (spikes, *node.inputs[1:]), inner
        b.add(node.name, op, *inputs_, scale=graph.scales.get(node.name))
    for name, state in graph.states.items():
        b.update(name, state.next)
    for name, value in graph.outputs.items():
        b.output(name, value)
    return b.build()


def _encode(b: GraphBuilder, node: Node, form: SpikeForm) -> tuple[str, SpikeLinear]:
    """Send a layer's input as spikes, once for all that read it; return them and the product."""
    counts, op = node.inputs[0], node.op
    if not isinstance(op, Linear):
        raise InternalError(f"node {node.name!r} ({op}) is no linear layer")
    steps = form.steps_of(b.types[counts])
    lo, hi = count_range(form.coding, steps)
    spikes, source = counts + SPIKES, counts
    if spikes not in b.types:
        type_ = b.types[counts]
        if type_.lo < lo or type_.hi > hi:
            low, high = max(lo, type_.dtype.lo), min(hi, type_.dtype.hi)
            source = b.add(counts + CLIPPED, Clip(low, high), counts, scale=b.scales.get(counts))
        order = form.highest_first and form.coding not in RATE
        b.add(spikes, SpikeEncode(form.coding, steps, order), source)
    inner = SpikeLinear(
        form.coding,
        steps,
        form.highest_first and form.coding not in RATE,
        op.weight_group,
        op.act_group,
        op.mantissa_bits,
    )
    return spikes, inner
