"""Run recurrences over time: delay lines as gathers, decaying states as scans, the rest as loops.

Every function reads `values` (sequences [B, T, ...] and constants), starts from `states`
[B, ...], and writes into `values` the sequences that others need and into `ends` the last states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import torch

from cosim.ir.graph import Graph, Node
from cosim.ir.op import same_rank
from cosim.kernels.plan import Recurrence
from cosim.kernels.rows import carrier, rows_of
from cosim.kernels.scan import FLOAT64_EXACT, row_map, scan
from cosim.ops.decay_update import DecayUpdate

Values = dict[str, torch.Tensor]


def run_push(
    graph: Graph,
    step: Recurrence,
    values: Values,
    states: Values,
    ends: Values,
    wanted: set[str],
) -> None:
    """Replace a delay line by a view of overlapping windows."""
    (node,), (name,) = step.nodes, step.states
    first, x = states[name], values[node.inputs[1]]
    k = first.shape[1]
    line = torch.cat([first[:, 1:], x], dim=1)
    values[node.name] = line.unfold(1, k, 1).movedim(-1, 2)
    if name in wanted or is_read_outside(graph, step, name):
        values[name] = torch.cat([first[:, None], values[node.name][:, :-1]], dim=1)
    ends[name] = values[node.name][:, -1]


def run_loop(
    graph: Graph,
    step: Recurrence,
    values: Values,
    states: Values,
    ends: Values,
    time: int,
    wanted: set[str],
    evaluate: Callable[[Node, Values], torch.Tensor],
) -> None:
    """Evaluate the nodes token by token, whatever they are."""
    consts = {n: values[n] for n in step.reads if n in graph.tensors}
    outside = [n for n in step.reads if n not in consts]
    current = {n: states[n] for n in step.states}
    exported = [
        n
        for n in (*step.states, *(n.name for n in step.all_nodes))
        if n in wanted or is_read_outside(graph, step, n)
    ]
    traces: dict[str, list[torch.Tensor]] = {n: [] for n in exported}
    for t in range(time):
        now = {**consts, **{n: values[n][:, t] for n in outside}, **current}
        for node in step.all_nodes:
            now[node.name] = evaluate(node, now)
        for n in exported:
            traces[n].append(now[n])
        current = {n: now[graph.states[n].next] for n in step.states}
    values.update({n: torch.stack(trace, dim=1) for n, trace in traces.items()})
    ends.update(current)


def is_read_outside(graph: Graph, step: Recurrence, name: str) -> bool:
    """Tell whether a node or state that is not part of the recurrence reads a value of it."""
    inside = {n.name for n in step.all_nodes}
    by_nodes = any(name in n.inputs for n in graph.nodes if n.name not in inside)
    return by_nodes or any(
        name == s.next for state, s in graph.states.items() if state not in step.states
    )


def run_decay_scan(
    graph: Graph,
    step: Recurrence,
    values: Values,
    states: Values,
    ends: Values,
    time: int,
    wanted: set[str],
    clipped: Counter[str],
) -> bool:
    """Scan one decaying state by the compiled kernel; return False where it does not apply."""
    if not _scan_applies(graph, step):
        return False
    (node,), (name,), read = step.nodes, step.states, step.read_out
    op = node.op
    assert isinstance(op, DecayUpdate)
    types, shape, batch = graph.types, graph.types[name].shape, states[name].shape[0]
    operands = [*node.inputs[1:4], read.inputs[1] if read else node.inputs[3]]
    rows = [
        rows_of(values[n], () if n in graph.tensors else (batch, time), types[n].shape)
        for n in operands
    ]
    every = [row_map(types[n].shape, shape) for n in (*operands, node.inputs[4])]
    steps = [0 if n in graph.tensors else r.step for n, r in zip(operands, rows, strict=True)]
    gain = np.exp2(values[node.inputs[4]].reshape(-1).numpy().astype(np.float64))
    state = states[name].reshape(batch, -1, shape[-1]).to(torch.float64, copy=True)
    keep = any(n in wanted or is_read_outside(graph, step, n) for n in (node.name, name))
    count = state.shape[1]
    y = torch.empty(
        (batch, time, count if read else 0), dtype=carrier(types[read.name].peak if read else 0)
    )
    trace = torch.empty(
        (batch, time, count if keep else 0, shape[-1]), dtype=carrier(types[name].peak)
    )
    clipped[node.name] += scan(
        state.numpy(),
        [r.flat for r in rows],
        gain,
        np.array(steps),
        np.array([m.width for m in every]),
        np.stack([m.index for m in every]),
        op.decay_bits,
        op.dtype.lo,
        op.dtype.hi,
        y.numpy(),
        trace.numpy(),
    )
    ends[name] = state.to(trace.dtype).reshape(batch, *shape)
    if read is not None:
        values[read.name] = y.reshape(batch, time, *types[read.name].shape)
    if keep:
        begin = states[name].to(trace.dtype).reshape(batch, 1, *shape)
        values[node.name] = trace.reshape(batch, time, *shape)
        values[name] = torch.cat([begin, values[node.name][:, :-1]], dim=1)
    return True


def _scan_applies(graph: Graph, step: Recurrence) -> bool:
    """Tell whether the kernel can scan this recurrence, every sum of it exact in float64."""
    (node,), (name,), read = step.nodes, step.states, step.read_out
    shape, op = graph.types[name].shape, node.op
    # The kernel reads the state as h alone, the lift as a constant, and c row by row of h.
    plain = (
        isinstance(op, DecayUpdate)
        and node.inputs[0] == name
        and name not in node.inputs[1:]
        and node.inputs[4] in graph.consts
        and len(shape) > 0
        and (read is None or same_rank(read.op, graph.input_types(read)) == shape)
    )
    reach = max(n.op.peak(graph.input_types(n)) for n in step.all_nodes)
    return plain and 2 * reach < FLOAT64_EXACT
