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
from cosim.kernels.scan import FLOAT64_EXACT, block_of, row_map, scan
from cosim.ops.decay_update import DecayUpdate

Values = dict[str, torch.Tensor]


def run_push(
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
    if name in wanted or name in step.shown:
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
    # The weights of a linear are not among the values.
    consts = {n: values[n] for n in step.reads if n in graph.tensors and n in values}
    outside = [n for n in step.reads if n not in graph.tensors]
    current = {n: states[n] for n in step.states}
    exported = [
        n
        for n in (*step.states, *(n.name for n in step.all_nodes))
        if n in wanted or n in step.shown
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


class PreparedScan:
    """Hold one decaying state and its read-out ready for the compiled scan."""

    def __init__(self, graph: Graph, step: Recurrence) -> None:
        """Map the rows of the operands to those of the state."""
        (node,), (name,), read = step.nodes, step.states, step.read_out
        assert isinstance(node.op, DecayUpdate)
        types, shape = graph.types, graph.types[name].shape
        self.op, self.name, self.state, self.shown = node.op, node.name, name, step.shown
        self.read, self.type = read, types[name]
        self.read_type = types[read.name] if read else None
        self.operands = [*node.inputs[1:4], read.inputs[1] if read else node.inputs[3]]
        self.shapes = [types[n].shape for n in self.operands]
        self.fixed = [n in graph.tensors for n in self.operands]
        every = [row_map(types[n].shape, shape) for n in (*self.operands, node.inputs[4])]
        self.widths = np.array([m.width for m in every])
        self.maps = np.stack([m.index for m in every])
        self.block = block_of(self.maps, self.widths, shape[-1])
        self.gain = np.exp2(graph.tensors[node.inputs[4]].reshape(-1).astype(np.float64))

    def run(
        self,
        values: Values,
        states: Values,
        ends: Values,
        time: int,
        wanted: set[str],
        clipped: Counter[str],
    ) -> None:
        """Scan over the window."""
        shape, dtype = self.type.shape, carrier(self.type.peak)
        first = states[self.state]
        batch = first.shape[0]
        rows = [
            rows_of(values[n], () if fixed else (batch, time), s)
            for n, s, fixed in zip(self.operands, self.shapes, self.fixed, strict=True)
        ]
        steps = [0 if fixed else r.step for r, fixed in zip(rows, self.fixed, strict=True)]
        state = first.reshape(batch, -1, shape[-1]).to(torch.float64, copy=True)
        names = {self.name, self.state}
        keep = not names.isdisjoint(wanted) or not names.isdisjoint(self.shown)
        count = state.shape[1]
        y = torch.empty(
            (batch, time, count if self.read_type else 0),
            dtype=carrier(self.read_type.peak if self.read_type else 0),
        )
        trace = torch.empty((batch, time, count if keep else 0, shape[-1]), dtype=dtype)
        clipped[self.name] += scan(
            state.numpy(),
            [r.flat for r in rows],
            self.gain,
            np.array(steps),
            self.widths,
            self.maps,
            self.op.decay_bits,
            self.op.dtype.lo,
            self.op.dtype.hi,
            self.block,
            y.numpy(),
            trace.numpy(),
        )
        ends[self.state] = state.to(dtype).reshape(batch, *shape)
        if self.read is not None and self.read_type is not None:
            values[self.read.name] = y.reshape(batch, time, *self.read_type.shape)
        if keep:
            begin = first.to(dtype).reshape(batch, 1, *shape)
            values[self.name] = trace.reshape(batch, time, *shape)
            values[self.state] = torch.cat([begin, values[self.name][:, :-1]], dim=1)


def scan_applies(graph: Graph, step: Recurrence) -> bool:
    """Tell whether the kernel can scan this recurrence, every sum of it exact in float64."""
    if len(step.nodes) != 1 or len(step.states) != 1:
        return False
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
