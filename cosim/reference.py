"""Run a model step by step in numpy int64: the meaning that everything else must equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from cosim.ir.errors import InternalError, UserError
from cosim.ir.graph import Graph
from cosim.ir.model import Model, Segment
from cosim.ir.numerics import saturate
from cosim.ops.count import Count

States = dict[str, np.ndarray]


@dataclass(frozen=True)
class Run:
    """Hold what an executor gives for a window of T tokens.

    `outputs`: model output -> [..., T, *shape]; `values`: `segment/value` -> [..., T, *shape] of
    the values asked for; `states`: `segment/state` -> the state after the window;
    `clipped`: `segment/node` -> how many elements saturated; `elements`: how many there were.
    """

    outputs: dict[str, np.ndarray]
    states: States
    values: dict[str, np.ndarray] = field(default_factory=dict)
    clipped: Counter[str] = field(default_factory=Counter)
    elements: Counter[str] = field(default_factory=Counter)


def step(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    states: Mapping[str, np.ndarray],
    clipped: Counter[str] | None = None,
) -> dict[str, np.ndarray]:
    """Evaluate one step and return every value of the graph by name.

    Arrays have int64 elements and may have leading batch axes. Where `clipped` is given, add the
    saturated elements of each node to it.
    """
    values: dict[str, np.ndarray] = {**graph.tensors, **inputs, **states}
    for node in graph.nodes:
        raw = node.op.meaning(*(values[name] for name in node.inputs))
        if node.op.saturates:
            kept = saturate(raw, graph.types[node.name].dtype)
            if clipped is not None:
                clipped[node.name] += int(np.count_nonzero(kept != raw))
            raw = kept
        values[node.name] = raw
    return values


def initial_states(model: Model, batch: tuple[int, ...] = ()) -> States:
    """Return the first states of a model, keyed `segment/state`, with leading batch axes."""
    first: States = {}
    for seg in model.segments:
        for name, state in seg.graph.states.items():
            data = np.int64(0) if state.init is None else seg.graph.tensors[state.init]
            shape = (*batch, *state.type.shape)
            first[f"{seg.name}/{name}"] = np.broadcast_to(data, shape).astype(np.int64)
    return first


def begin_of(segment: Segment, state: str) -> str:
    """Return the `segment/state` from whose present value a state of a segment starts."""
    return segment.states_from.get(state, f"{segment.name}/{state}")


def check_states(
    model: Model, states: Mapping[str, np.ndarray] | None, batch: tuple[int, ...]
) -> States:
    """Return the states to start from; raise UserError where the given ones do not fit."""
    if states is None:
        return initial_states(model, batch)
    if not model.is_causal:
        raise UserError(
            f"model {model.name} is not causal: it has no state to continue from; give it whole "
            "windows"
        )
    first: States = {}
    for seg in model.segments:
        for name, state in seg.graph.states.items():
            key, want = f"{seg.name}/{name}", (*batch, *state.type.shape)
            if key not in states:
                raise UserError(f"model {model.name}: state {key!r} is missing")
            data = np.asarray(states[key])
            fits = data.shape == want and data.dtype.kind in "iu"
            if not fits or int(data.min()) < state.type.lo or int(data.max()) > state.type.hi:
                raise UserError(
                    f"model {model.name}: state {key!r} must be integers {list(want)} in "
                    f"{state.type.lo}..{state.type.hi}, got {data.dtype} {list(data.shape)}; give "
                    "the states of an earlier window of the same batch"
                )
            first[key] = data.astype(np.int64)
    return first


def context_of(model: Model) -> int | None:
    """Return how many tokens a model can read before it must begin anew; None for any number."""
    limits = [n.op.limit for s in model.segments for n in s.graph.nodes if isinstance(n.op, Count)]
    return min(limits, default=None)


def check_room(model: Model, states: Mapping[str, np.ndarray], time: int) -> None:
    """Raise UserError where a window of `time` tokens would pass the limit of a counter."""
    for seg in model.segments:
        counters = {n.name: n.op.limit for n in seg.graph.nodes if isinstance(n.op, Count)}
        for name, state in seg.graph.states.items():
            limit, done = counters.get(state.next), int(np.max(states[f"{seg.name}/{name}"]))
            total = time + seg.look_ahead
            if limit is not None and done + total > limit:
                raise UserError(
                    f"model {model.name}: {done} tokens came before and {total} are to follow, but "
                    f"its context ends after {limit} (state {seg.name}/{name}); begin anew, or "
                    f"give at most {limit - done}"
                )


def check_keep(model: Model, keep: Collection[str] | None) -> None:
    """Raise InternalError where `keep` names anything but `segment/value`s that change."""
    known = {
        f"{seg.name}/{n}"
        for seg in model.segments
        for n in seg.graph.types
        if n not in seg.graph.consts
    }
    unknown = sorted(set(keep or ()) - known)
    if unknown:
        raise InternalError(f"model {model.name} has no value {unknown[0]!r} to keep")


def check_weights(model: Model) -> None:
    """Raise UserError unless every constant has data."""
    if not model.has_weights:
        raise UserError(f"model {model.name} has no weights: it can be simulated but not run")


def check_inputs(model: Model, inputs: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Return the axes before time of checked inputs; raise UserError where they do not fit."""
    check_weights(model)
    unknown = sorted(set(inputs) - set(model.inputs))
    if unknown:
        raise UserError(
            f"model {model.name} has no input {unknown[0]!r}; its inputs are {sorted(model.inputs)}"
        )
    leads = set()
    for name, type_ in model.inputs.items():
        if name not in inputs:
            raise UserError(f"model {model.name}: input {name!r} is missing")
        data = np.asarray(inputs[name])
        rank = data.ndim - len(type_.shape)
        if rank < 1 or data.shape[rank:] != type_.shape or data.dtype.kind not in "iu":
            raise UserError(
                f"model {model.name}: input {name!r} must be integers [..., T, *{type_.shape}], "
                f"got {data.dtype} {data.shape}"
            )
        if data.size and (int(data.min()) < type_.lo or int(data.max()) > type_.hi):
            raise UserError(
                f"model {model.name}: input {name!r} holds {int(data.min())}..{int(data.max())}, "
                f"outside {type_.lo}..{type_.hi}"
            )
        leads.add(data.shape[:rank])
    if len(leads) != 1:
        raise UserError(f"model {model.name}: inputs have different lengths {sorted(leads)}")
    lead: tuple[int, ...] = leads.pop()
    if 0 in lead:
        raise UserError(
            f"model {model.name}: the window {list(lead)} is empty; give at least one token"
        )
    return lead


def run(
    model: Model,
    inputs: Mapping[str, np.ndarray],
    states: Mapping[str, np.ndarray] | None = None,
    keep: Collection[str] | None = (),
) -> Run:
    """Run a window; inputs [..., T, *shape]; `keep` names `segment/value`s, None keeps all.

    `states` continues an earlier window of a causal model. Raise UserError on bad inputs and
    states.
    """
    lead = check_inputs(model, inputs)
    batch, time = lead[:-1], lead[-1]
    check_keep(model, keep)
    current = check_states(model, states, batch)
    check_room(model, current, time)
    axis = len(batch)
    sequences = {n: np.asarray(inputs[n]).astype(np.int64) for n in model.inputs}
    clipped: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    values: dict[str, np.ndarray] = {}
    for seg in model.segments:
        graph, total = seg.graph, time + seg.look_ahead
        wanted = [
            n
            for n in graph.types
            if n not in graph.consts and (keep is None or f"{seg.name}/{n}" in keep)
        ]
        seen = sorted({*wanted, *graph.outputs.values()})
        traces: dict[str, list[np.ndarray]] = {n: [] for n in seen}
        local = {n: current[begin_of(seg, n)] for n in graph.states}
        count: Counter[str] = Counter()
        order = range(total) if seg.direction == "forward" else range(time - 1, -1, -1)
        for t in order:
            token = {
                n: np.take(sequences[w], t, axis=axis)
                if t < time
                else np.zeros((*batch, *graph.types[n].shape), dtype=np.int64)
                for n, w in seg.wires.items()
            }
            result = step(graph, token, local, count)
            for n in seen:
                traces[n].append(result[n])
            local = {n: result[s.next] for n, s in graph.states.items()}
        if seg.direction == "backward":
            traces = {n: trace[::-1] for n, trace in traces.items()}
        current.update({f"{seg.name}/{n}": v for n, v in local.items()})
        stacked = {n: np.stack(trace, axis=axis) for n, trace in traces.items()}
        values.update({f"{seg.name}/{n}": stacked[n] for n in wanted})
        for out, value in graph.outputs.items():
            sequences[f"{seg.name}.{out}"] = np.take(
                stacked[value], range(seg.look_ahead, total), axis=axis
            )
        rows = total * int(np.prod(batch, dtype=np.int64))
        for node in graph.nodes:
            if node.op.saturates:
                clipped[f"{seg.name}/{node.name}"] += count[node.name]
                elements[f"{seg.name}/{node.name}"] += rows * graph.types[node.name].size
    outputs = {n: sequences[source] for n, source in model.outputs.items()}
    return Run(outputs, current, values, clipped, elements)
