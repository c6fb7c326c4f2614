"""Build a model again with nodes left out, put in, or constants renamed: to see checkers refuse."""

from collections.abc import Mapping
from dataclasses import replace

from cosim.ir.graph import Graph, GraphBuilder
from cosim.ir.model import Model
from cosim.ir.op import Op


def rebuild(
    model: Model,
    drop: tuple[str, ...] = (),
    insert: Mapping[str, Op] | None = None,
    rename: Mapping[str, str] | None = None,
) -> Model:
    """Return the model without nodes `drop` (their first input takes their place), with an
    operator after each value in `insert`, and with constants renamed."""
    known = {n for s in model.segments for n in s.graph.types}
    assert set(drop) | set(insert or {}) | set(rename or {}) <= known
    return replace(
        model,
        segments=tuple(
            replace(s, graph=_graph(s.graph, drop, insert or {}, rename or {}))
            for s in model.segments
        ),
    )


def _graph(
    graph: Graph, drop: tuple[str, ...], insert: Mapping[str, Op], rename: Mapping[str, str]
) -> Graph:
    builder, now = GraphBuilder(graph.name), dict(rename)
    for name in graph.inputs:
        builder.input(name, graph.types[name], graph.scales.get(name))
    for name in graph.consts:
        data = graph.tensors.get(name, graph.types[name])
        builder.const(now.get(name, name), data, graph.types[name].dtype)
    for name, state in graph.states.items():
        builder.state(name, state.type)
    for node in graph.nodes:
        inputs = [now.get(n, n) for n in node.inputs]
        if node.name in drop:
            now[node.name] = inputs[0]
            continue
        builder.add(node.name, node.op, *inputs, scale=graph.scales.get(node.name))
        if node.name in insert:
            now[node.name] = builder.add(f"{node.name}.inserted", insert[node.name], node.name)
    for name, state in graph.states.items():
        builder.update(name, now.get(state.next, state.next))
    for out, value in graph.outputs.items():
        builder.output(out, now.get(value, value))
    return builder.build()
