"""Cut the layers out of a model, for boards whose host embeds tokens and scores them."""

from __future__ import annotations

import re
from dataclasses import replace

from cosim.ir.errors import UserError
from cosim.ir.graph import Node
from cosim.ir.model import Model, Segment
from cosim.ops import Reshape

_LAYER = re.compile(r"layers\.\d+\.")


def layers_only(model: Model) -> Model:
    """Return the model without what stands before its layers and behind them.

    The values that the layers read from outside become inputs, those that are read of them become
    outputs. Raise UserError where the model has no layers, or more than one segment.
    """
    if len(model.segments) != 1:
        raise UserError(
            f"model {model.name}: {len(model.segments)} segments, but only one step graph can be "
            "cut; simulate the whole model"
        )
    (segment,) = model.segments
    graph = segment.graph
    inside = tuple(n for n in graph.nodes if _LAYER.match(n.name))
    made = {n.name for n in inside}
    if not made:
        raise UserError(f"model {model.name} has no layers to cut out; simulate the whole model")
    read = dict.fromkeys(operand for n in inside for operand in n.inputs)
    kept = {**dict.fromkeys(graph.consts), **dict.fromkeys(graph.states), **dict.fromkeys(made)}
    inputs = tuple(v for v in read if v not in kept)
    outside = [v for n in graph.nodes if n.name not in made for v in n.inputs if v in made]
    shown = [v for v in dict.fromkeys([*outside, *graph.outputs.values()]) if v in made]
    # An output must not be a layer's own value, lest the layers differ: a wire renames it.
    ends = {f"out.{k}": v for k, v in enumerate(shown)}
    consts = tuple(c for c in graph.consts if c in read)
    states = {name: s for name, s in graph.states.items() if s.next in made}
    own = [*inputs, *consts, *states, *(n.name for n in inside)]
    types = {n: graph.types[n] for n in own}
    wires = tuple(Node(n, Reshape(types[v].shape, types[v].shape), (v,)) for n, v in ends.items())
    types.update({n: types[v] for n, v in ends.items()})
    cut = replace(
        graph, inputs=inputs, consts=consts, states=states, nodes=(*inside, *wires),
        outputs={n: n for n in ends}, types=types,
        tensors={n: t for n, t in graph.tensors.items() if n in consts},
        scales={n: s for n, s in graph.scales.items() if n in own},
    )  # fmt: skip
    return Model(
        model.name,
        {n: graph.types[n] for n in inputs},
        (Segment(segment.name, cut, {n: n for n in inputs}),),
        {n: f"{segment.name}.{n}" for n in ends},
    )
