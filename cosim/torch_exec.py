"""Run a model fast in torch, on CPU or CUDA, with the same bits as `cosim.reference`.

Many tokens run at once, and the sequences of a batch in as many threads as torch may use.
Carriers are int32 where every intermediate is proved to fit, int64 otherwise; matrix products
choose their arithmetic in `cosim.kernels.matmul`; on the CPU, compiled kernels stand for the
operators listed in `cosim.kernels.prepare`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from cosim.ir.model import Model, Segment
from cosim.kernels.matmul import check_products
from cosim.kernels.rows import carrier
from cosim.kernels.runner import GraphRunner, Values
from cosim.reference import (
    Run,
    begin_of,
    check_inputs,
    check_keep,
    check_room,
    check_states,
    check_weights,
)

Arrays = dict[str, np.ndarray]


@dataclass
class Part:
    """Hold the run of some sequences of a batch: arrays [b, T, ...], states [b, ...]."""

    sequences: Values
    states: Arrays
    time: int
    values: Arrays = field(default_factory=dict)
    clipped: Counter[str] = field(default_factory=Counter)


class TorchExecutor:
    """Run a model many times; prepare once."""

    def __init__(self, model: Model, device: str = "cpu", use_numba: bool | None = None) -> None:
        """Prepare every segment; compiled kernels run on the CPU, where `use_numba` allows."""
        check_weights(model)
        self.model = model
        self.device = torch.device(device)
        if self.device.type != "cpu":
            check_products(self.device)
        self.use_numba = self.device.type == "cpu" and use_numba is not False
        self.runners = {
            s.name: GraphRunner(s.graph, self.device, self.use_numba) for s in model.segments
        }

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        states: Mapping[str, np.ndarray] | None = None,
        keep: Collection[str] | None = (),
        count: bool = True,
    ) -> Run:
        """Run a window exactly as `cosim.reference.run` does, and return the same `Run`.

        `count=False` leaves the saturation counters empty.
        """
        lead = check_inputs(self.model, inputs)
        batch, time = lead[:-1], lead[-1]
        flat = int(np.prod(batch, dtype=np.int64))
        check_keep(self.model, keep)
        current = check_states(self.model, states, batch)
        check_room(self.model, current, time)
        # Without the compiled kernels torch's own threads have long loops to share.
        threads = torch.get_num_threads() if self.use_numba else 1
        bounds = np.linspace(0, flat, min(threads, flat) + 1).astype(int).tolist()
        parts = [
            Part(
                {n: self._sequence(n, x, flat, time, first, last) for n, x in inputs.items()},
                {n: _flatten(x, len(batch), flat)[first:last] for n, x in current.items()},
                time,
            )
            for first, last in pairwise(bounds)
        ]
        if threads == 1:
            self._run(parts[0], keep, count)
        else:
            self._run_threads(parts, keep, count, threads)
        clipped = sum((p.clipped for p in parts), Counter[str]())
        elements: Counter[str] = Counter()
        for seg in self.model.segments:
            rows = flat * (time + seg.look_ahead)
            for node in seg.graph.nodes if count else ():
                if node.op.saturates:
                    key = f"{seg.name}/{node.name}"
                    # Counters drop zeros when they are added up; every counted node is listed.
                    clipped[key] += 0
                    elements[key] += rows * seg.graph.types[node.name].size
        outputs = {
            n: _join([_numpy(p.sequences[source]) for p in parts], batch)
            for n, source in self.model.outputs.items()
        }
        ends = {n: _join([p.states[n] for p in parts], batch) for n in current}
        values = {n: _join([p.values[n] for p in parts], batch) for n in parts[0].values}
        return Run(outputs, ends, values, clipped, elements)

    def _sequence(
        self, name: str, x: np.ndarray, flat: int, time: int, first: int, last: int
    ) -> torch.Tensor:
        """Return some sequences of an input in their carrier."""
        t = self.model.inputs[name]
        wide = np.asarray(x).astype(np.int64).reshape(flat, time, *t.shape)
        return torch.from_numpy(wide[first:last]).to(self.device, carrier(t.peak))

    def _run_threads(
        self, parts: list[Part], keep: Collection[str] | None, count: bool, threads: int
    ) -> None:
        """Run each part in its own thread; kernels and torch release Python's lock."""
        try:
            # Products this small lose more than they gain where they start threads of their own.
            with ThreadPoolExecutor(
                len(parts), initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                list(pool.map(lambda part: self._run(part, keep, count), parts))
        finally:
            # The number is partly one of the process: threads started later would inherit 1.
            torch.set_num_threads(threads)

    def _run(self, part: Part, keep: Collection[str] | None, count: bool) -> None:
        for seg in self.model.segments:
            self._segment(seg, part, keep, count)

    def _segment(self, seg: Segment, part: Part, keep: Collection[str] | None, count: bool) -> None:
        graph, time = seg.graph, part.time + seg.look_ahead
        feed = {n: part.sequences[w] for n, w in seg.wires.items()}
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
            n: torch.from_numpy(part.states[begin_of(seg, n)]).to(self.device, carrier(s.type.peak))
            for n, s in graph.states.items()
        }
        local: Counter[str] = Counter()
        got, ends = self.runners[seg.name].run(feed, begin, time, names, local, count)
        if seg.direction == "backward":
            got = {n: x.flip(1) for n, x in got.items()}
        part.values.update({f"{seg.name}/{n}": _numpy(got[n]) for n in names})
        for out, value in graph.outputs.items():
            part.sequences[f"{seg.name}.{out}"] = got[value][:, seg.look_ahead :]
        part.states.update({f"{seg.name}/{n}": _numpy(x) for n, x in ends.items()})
        if count:
            part.clipped.update({f"{seg.name}/{n}": saturated for n, saturated in local.items()})


def _pad(x: torch.Tensor, steps: int) -> torch.Tensor:
    return torch.cat([x, torch.zeros_like(x[:, :1]).expand(-1, steps, *x.shape[2:])], dim=1)


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.cpu().numpy().astype(np.int64)


def _flatten(x: np.ndarray, axes: int, flat: int) -> np.ndarray:
    """Merge the batch axes into one."""
    return x.reshape(flat, *x.shape[axes:])


def _join(parts: list[np.ndarray], batch: tuple[int, ...]) -> np.ndarray:
    """Join the sequences of all parts and give them their batch axes back."""
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return whole.reshape((*batch, *whole.shape[1:]))
