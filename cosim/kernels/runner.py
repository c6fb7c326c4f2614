"""Run one prepared step graph over windows of tokens, on tensors [B, T, ...].

Operators outside a recurrence run over many tokens at once. A recurrence (a state and the nodes
between it and its next value) is replaced by a kernel where one exists and else looped over
time. On the CPU the window is cut into chunks whose values stay in the cache; states go on from
chunk to chunk as they do from window to window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch

from cosim.ir.graph import Graph, Node
from cosim.kernels.attend import PreparedAttend, attend_applies
from cosim.kernels.cache import Cache, rings_of
from cosim.kernels.linear import PreparedLinear
from cosim.kernels.plan import Recurrence, Single, plan
from cosim.kernels.prepare import prepare
from cosim.kernels.recurrence import PreparedScan, run_loop, run_push, scan_applies
from cosim.kernels.rotate import prepare_rotation
from cosim.kernels.rows import Kernel, carrier
from cosim.kernels.spikes import PreparedSpikeLinear
from cosim.ops.attend import Attend
from cosim.ops.hadamard import Hadamard
from cosim.ops.linear import Linear
from cosim.ops.push import Push
from cosim.ops.spike_linear import SpikeLinear

Values = dict[str, torch.Tensor]

# Tokens of a chunk, all sequences of the batch together. Measured on the shipped model: 256 cost a
# fifth more time in calls, 2048 a twentieth more in cache misses. Where the values of a token are
# large, fewer: typeseg's scans took a tenth less at 256 than at 1024.
CHUNK_TOKENS = 1024
LEAST_CHUNK_TOKENS = 256
CHUNK_BYTES = 1 << 22  # of the largest value


def operands(node: Node) -> tuple[str, ...]:
    """Return the inputs read when a node runs: a linear's weights lie in its `PreparedLinear`."""
    if not isinstance(node.op, Linear | SpikeLinear):
        return node.inputs
    return tuple(n for k, n in enumerate(node.inputs) if k not in node.op.constants)


class GraphRunner:
    """Hold one graph prepared for a device: its plan, constants and weight matrices."""

    def __init__(self, graph: Graph, device: torch.device, use_numba: bool) -> None:
        """Plan the graph and move its constants."""
        self.graph, self.device, self.use_numba = graph, device, use_numba
        self.steps = plan(graph)
        read = {name for node in graph.nodes for name in operands(node)}
        self.consts = {
            n: torch.from_numpy(d).to(device, carrier(graph.types[n].peak))
            for n, d in graph.tensors.items()
            if n in read
        }
        self.carriers = {n.name: carrier(n.op.peak(graph.input_types(n))) for n in graph.nodes}
        self.linears: dict[str, PreparedLinear | PreparedSpikeLinear] = {}
        for node in graph.nodes:
            data = [graph.tensors.get(name) for name in node.inputs]
            if isinstance(node.op, Linear):
                self.linears[node.name] = PreparedLinear(
                    node.op, graph.input_types(node), data, device, use_numba
                )
            elif isinstance(node.op, SpikeLinear):
                self.linears[node.name] = PreparedSpikeLinear(
                    node.op, graph.input_types(node), data, device, use_numba
                )
        self.kernels: dict[str, Kernel] = {}
        for node in graph.nodes:
            kernel = prepare(graph, node) if use_numba else None
            if (
                kernel is None
                and isinstance(node.op, Hadamard)
                and node.inputs[0] not in graph.tensors
            ):
                kernel = prepare_rotation(
                    node.op, graph.input_types(node), graph.types[node.name], device
                )
            if kernel is not None:
                self.kernels[node.name] = kernel
        self.scans = {
            step.states[0]: PreparedScan(graph, step)
            for step in self.steps
            if use_numba and isinstance(step, Recurrence) and scan_applies(graph, step)
        }
        fast = [n.name for n in graph.nodes if use_numba and attend_applies(graph, n)]
        self.rings, found = rings_of(graph, self.steps, fast)
        self.attends = {n.name: PreparedAttend(graph, n) for n in graph.nodes if n.name in found}
        last: dict[str, int] = {}
        for position, step in enumerate(self.steps):
            for name in step.reads:
                last[name] = position
        self.last_use = last
        sizes = [graph.types[s.node.name].size for s in self.steps if isinstance(s, Single)]
        fitting = CHUNK_BYTES // (4 * max(sizes, default=1))
        self.chunk = min(CHUNK_TOKENS, max(LEAST_CHUNK_TOKENS, fitting))

    def evaluate(
        self, node: Node, values: Mapping[str, torch.Tensor], clipped: Counter[str], count: bool
    ) -> torch.Tensor:
        """Evaluate one node on whatever leading axes its inputs have."""
        kernel = self.kernels.get(node.name)
        if kernel is not None:
            done, saturated = kernel([values[n] for n in operands(node)])
            if count and node.op.saturates:
                clipped[node.name] += saturated
            return done
        if node.name in self.linears:
            raw = self.linears[node.name].product(*(values[n] for n in operands(node)))
        else:
            dtype = self.carriers[node.name]
            raw = node.op.meaning(*(values[n].to(dtype) for n in node.inputs))
        if node.op.saturates:
            t = self.graph.types[node.name].dtype
            # The declared type may be wider than the carrier: its ends are then out of reach.
            ends = torch.iinfo(raw.dtype)
            kept = raw.clamp(max(t.lo, ends.min), min(t.hi, ends.max))
            if count:
                clipped[node.name] += int(torch.count_nonzero(kept != raw))
            raw = kept
        return raw.to(carrier(self.graph.types[node.name].peak))

    def run(
        self,
        sequences: Values,
        states: Values,
        time: int,
        keep: set[str],
        clipped: Counter[str],
        count: bool,
    ) -> tuple[Values, Values]:
        """Run sequences [B, T, ...] and return (kept values and outputs, next states)."""
        batch = next(iter({**sequences, **states}.values())).shape[0]
        size = max(1, self.chunk // batch) if self.use_numba else time
        wanted = keep | set(self.graph.outputs.values())
        pieces: list[Values] = []
        for start in range(0, time, size):
            stop = min(start + size, time)
            chunk = {n: x[:, start:stop] for n, x in sequences.items()}
            piece, states = self._chunk(chunk, states, stop - start, wanted, clipped, count)
            pieces.append(piece)
        if len(pieces) == 1:
            return pieces[0], states
        return {n: torch.cat([piece[n] for piece in pieces], dim=1) for n in wanted}, states

    def _chunk(
        self,
        sequences: Values,
        states: Values,
        time: int,
        wanted: set[str],
        clipped: Counter[str],
        count: bool,
    ) -> tuple[Values, Values]:
        values: Values = {**self.consts, **sequences}
        ends: Values = {}
        caches: dict[str, Cache] = {}
        lean = not wanted & {*self.rings, *self.rings.values()}
        for position, step in enumerate(self.steps):
            if isinstance(step, Recurrence):
                name = step.states[0]
                if lean and name in self.rings:
                    ring = caches[self.rings[name]] = self._keep(name, values, states)
                    ends[name] = ring.end()
                else:
                    self._recur(step, values, states, ends, time, wanted, clipped, count)
            elif lean and step.node.name in self.attends:
                values[step.node.name] = self._attend(step.node, values, caches)
            else:
                values[step.node.name] = self.evaluate(step.node, values, clipped, count)
            for name in step.reads:
                if self.last_use[name] == position and name not in wanted:
                    values.pop(name, None)
        return {n: values[n] for n in wanted}, ends

    def _keep(self, name: str, values: Values, states: Values) -> Cache:
        """Return a ring as its beginning and the rows that its node would write."""
        writers = [n for n in self.graph.nodes if n.name == self.rings[name]]
        if not writers:
            return Cache(states[name])
        _, row, position = writers[0].inputs
        return Cache(states[name], values[row], values[position])

    def _attend(
        self, node: Node, values: Mapping[str, torch.Tensor], caches: Mapping[str, Cache]
    ) -> torch.Tensor:
        q, keys, held, position = node.inputs[:4]
        assert isinstance(node.op, Attend)
        newest = position if node.op.causal else node.inputs[-1]
        return self.attends[node.name].run(
            values[q], caches[keys], caches[held], values[position], values[newest]
        )

    def _recur(
        self,
        step: Recurrence,
        values: Values,
        states: Values,
        ends: Values,
        time: int,
        wanted: set[str],
        clipped: Counter[str],
        count: bool,
    ) -> None:
        if not step.all_nodes and self.graph.states[step.states[0]].next == step.states[0]:
            # A state that is only read, such as a cache that an earlier segment filled.
            (name,) = step.states
            held = states[name]
            values[name] = held[:, None].expand(-1, time, *held.shape[1:])
            ends[name] = held
            return
        only = step.nodes[0].op if len(step.nodes) == 1 and len(step.states) == 1 else None
        if isinstance(only, Push):
            run_push(step, values, states, ends, wanted)
            return
        scan = self.scans.get(step.states[0])
        if scan is not None:
            scan.run(values, states, ends, time, wanted, clipped)
            return

        def evaluate(node: Node, local: Values) -> torch.Tensor:
            return self.evaluate(node, local, clipped, count)

        run_loop(self.graph, step, values, states, ends, time, wanted, evaluate)
