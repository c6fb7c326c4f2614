"""Run a model fast in torch, on CPU or CUDA, with the same bits as `cosim.reference`.

Operators outside a recurrence run over all tokens at once. A recurrence (a state and the nodes
between it and its next value) is replaced by a kernel where one exists and else looped over
time. Carriers are int32 where every intermediate is proved to fit, int64 otherwise; matrix
products choose their arithmetic in `cosim.kernels.matmul`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
import torch

from cosim.ir.graph import Graph, Node
from cosim.ir.model import Model, Segment
from cosim.kernels.linear import PreparedLinear
from cosim.kernels.plan import Recurrence, plan
from cosim.kernels.prepare import prepare
from cosim.kernels.recurrence import run_decay_scan, run_loop, run_push
from cosim.kernels.rows import Kernel, carrier
from cosim.ops.decay_update import DecayUpdate
from cosim.ops.linear import Linear
from cosim.ops.push import Push
from cosim.reference import Run, check_inputs, check_keep, check_states

Values = dict[str, torch.Tensor]


class GraphRunner:
    """Hold one graph prepared for a device: its plan, constants and weight matrices."""

    def __init__(self, graph: Graph, device: torch.device, use_numba: bool) -> None:
        """Plan the graph and move its constants."""
        self.graph, self.device, self.use_numba = graph, device, use_numba
        self.steps = plan(graph)
        self.consts = {
            n: torch.from_numpy(d).to(device, carrier(graph.types[n].peak))
            for n, d in graph.tensors.items()
        }
        self.carriers = {n.name: carrier(n.op.peak(graph.input_types(n))) for n in graph.nodes}
        self.linears = {
            n.name: PreparedLinear(
                n.op,
                graph.input_types(n),
                [graph.tensors.get(i) for i in n.inputs],
                device,
                use_numba,
            )
            for n in graph.nodes
            if isinstance(n.op, Linear)
        }
        self.kernels: dict[str, Kernel] = {}
        for node in graph.nodes if use_numba else ():
            kernel = prepare(graph, node)
            if kernel is not None:
                self.kernels[node.name] = kernel
        last: dict[str, int] = {}
        for position, step in enumerate(self.steps):
            for name in step.reads:
                last[name] = position
        self.last_use = last

    def evaluate(
        self, node: Node, values: Mapping[str, torch.Tensor], clipped: Counter[str], count: bool
    ) -> torch.Tensor:
        """Evaluate one node on whatever leading axes its inputs have."""
        kernel = self.kernels.get(node.name)
        if kernel is not None:
            done, saturated = kernel([values[n] for n in node.inputs])
            if count and node.op.saturates:
                clipped[node.name] += saturated
            return done
        if node.name in self.linears:
            raw = self.linears[node.name].product([values[n] for n in node.inputs])
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
        """Run sequences [B, T, ...] and return (kept values, next states)."""
        values: Values = {**self.consts, **sequences}
        ends: Values = {}
        wanted = keep | set(self.graph.outputs.values())
        for position, step in enumerate(self.steps):
            if isinstance(step, Recurrence):
                self._recur(step, values, states, ends, time, wanted, clipped, count)
            else:
                values[step.node.name] = self.evaluate(step.node, values, clipped, count)
            for name in step.reads:
                if self.last_use[name] == position and name not in wanted:
                    values.pop(name, None)
        return {n: values[n] for n in wanted}, ends

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
        only = step.nodes[0].op if len(step.nodes) == 1 and len(step.states) == 1 else None
        if isinstance(only, Push):
            run_push(self.graph, step, values, states, ends, wanted)
            return
        if isinstance(only, DecayUpdate) and self.use_numba:
            done = run_decay_scan(self.graph, step, values, states, ends, time, wanted, clipped)
            if done:
                return

        def evaluate(node: Node, local: Values) -> torch.Tensor:
            return self.evaluate(node, local, clipped, count)

        run_loop(self.graph, step, values, states, ends, time, wanted, evaluate)


class TorchExecutor:
    """Run a model many times; prepare once."""

    def __init__(self, model: Model, device: str = "cpu", use_numba: bool | None = None) -> None:
        """Prepare every segment; the compiled scan runs on the CPU, where `use_numba` allows."""
        self.model = model
        self.device = torch.device(device)
        numba = self.device.type == "cpu" and use_numba is not False
        self.runners = {s.name: GraphRunner(s.graph, self.device, numba) for s in model.segments}

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        states: Mapping[str, np.ndarray] | None = None,
        keep: Collection[str] | None = (),
        count: bool = True,
    ) -> Run:
        """Run a window exactly as `cosim.reference.run` does, and return the same `Run`.

        `count=False` leaves the saturation counters empty (of kernels that can skip them).
        """
        lead = check_inputs(self.model, inputs)
        batch = lead[:-1]
        flat = int(np.prod(batch, dtype=np.int64))
        time = lead[-1]
        check_keep(self.model, keep)
        current = check_states(self.model, states, batch)
        sequences = {
            n: torch.from_numpy(np.asarray(inputs[n]).astype(np.int64))
            .reshape(flat, time, *t.shape)
            .to(self.device, carrier(t.peak))
            for n, t in self.model.inputs.items()
        }
        clipped: Counter[str] = Counter()
        elements: Counter[str] = Counter()
        values: dict[str, np.ndarray] = {}
        for seg in self.model.segments:
            self._segment(seg, sequences, current, values, keep, clipped, elements, lead, count)
        outputs = {n: _numpy(sequences[s], batch) for n, s in self.model.outputs.items()}
        return Run(outputs, current, values, clipped, elements)

    def _segment(
        self,
        seg: Segment,
        sequences: Values,
        current: dict[str, np.ndarray],
        values: dict[str, np.ndarray],
        keep: Collection[str] | None,
        clipped: Counter[str],
        elements: Counter[str],
        lead: tuple[int, ...],
        count: bool,
    ) -> None:
        graph, batch, time = seg.graph, lead[:-1], lead[-1] + seg.look_ahead
        feed = {n: sequences[w] for n, w in seg.wires.items()}
        if seg.look_ahead:
            feed = {n: _pad(x, seg.look_ahead) for n, x in feed.items()}
        if seg.direction == "backward":
            feed = {n: x.flip(1) for n, x in feed.items()}
        names = {
            n
            for n in graph.types
            if n not in graph.consts and (keep is None or f"{seg.name}/{n}" in keep)
        }
        begin = {
            n: torch.from_numpy(current[f"{seg.name}/{n}"].reshape(-1, *s.type.shape)).to(
                self.device, carrier(s.type.peak)
            )
            for n, s in graph.states.items()
        }
        local: Counter[str] = Counter()
        got, ends = self.runners[seg.name].run(feed, begin, time, names, local, count)
        if seg.direction == "backward":
            got = {n: x.flip(1) for n, x in got.items()}
        values.update({f"{seg.name}/{n}": _numpy(got[n], batch) for n in names})
        for out, value in graph.outputs.items():
            sequences[f"{seg.name}.{out}"] = got[value][:, seg.look_ahead :]
        for n, x in ends.items():
            shape = (*batch, *graph.states[n].type.shape)
            current[f"{seg.name}/{n}"] = x.cpu().numpy().astype(np.int64).reshape(shape)
        rows = time * int(np.prod(batch, dtype=np.int64))
        for node in graph.nodes:
            if node.op.saturates and count:
                key = f"{seg.name}/{node.name}"
                clipped[key] += local[node.name]
                elements[key] += rows * graph.types[node.name].size


def _pad(x: torch.Tensor, steps: int) -> torch.Tensor:
    return torch.cat([x, torch.zeros_like(x[:, :1]).expand(-1, steps, *x.shape[2:])], dim=1)


def _numpy(x: torch.Tensor, batch: tuple[int, ...]) -> np.ndarray:
    return x.cpu().numpy().astype(np.int64).reshape(*batch, *x.shape[1:])
