"""Warn about an integer model: decay, state, saturation, headroom, and what is not integer.

The slow heads of a state are where low precision hides (reference: LightMamba's released graph
never forgets where 1 - decay is below its last bit; see docs/results.md). All figures come from
the graph and one run over some tokens; a lint warns where `value` is past `limit`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cosim.ir.graph import Graph, Node
from cosim.ir.model import Model, Segment
from cosim.ops import ALL, Contract, DecayUpdate, Dequantize, Fir, Linear, SpikeLinear
from cosim.torch_exec import TorchExecutor
from quant.lints_shift import frozen_decays

# k of fewer LSBs is off by more than 1/32 when it is rounded.
LEAST_DECAY_LSBS = 16.0
# A state that stops moving above 1/16 of its ceiling forgets visibly late.
MOST_DEADBAND = 1 / 16
# The largest code of a group with a shared scale is in the upper half of the codes, and the scale
# follows it down: only a deadband that reaches this half stops a group's maximum, at any size.
MOST_GROUP_DEADBAND = 1 / 2
MOST_OF_CEILING = 0.99
MOST_SATURATION = 1e-3
# One DSP48 or DSP58 accumulates 48 bits (AMD UG579, UG1366/AM004).
ACCUMULATOR_BITS = 48
WORST_HEADS = 3  # named in a sentence; all are in `Lint.heads`
# Elements of states kept at a time: a quarter GiB.
MOST_KEPT = 1 << 25


@dataclass(frozen=True)
class Lint:
    """Say one thing that a designer should know; `warns` where the value is past the limit.

    `heads` holds the value of every head of a state (of every channel in Mamba-1), in their order;
    `value` is then the worst of them. It is empty for what has no heads.
    """

    kind: str
    where: str
    value: float
    limit: float
    warns: bool
    sentence: str
    heads: tuple[float, ...] = ()


@dataclass(frozen=True)
class Seen:
    """Hold what a run showed: saturation by node, and extremes over all tokens by value.

    `least` and `largest` (of the magnitude) have the shape of the value.
    """

    least: dict[str, np.ndarray]
    largest: dict[str, np.ndarray]
    clipped: Counter[str]
    elements: Counter[str]


def lint_model(model: Model, tokens: Tensor) -> tuple[Lint, ...]:
    """Return all lints of an integer model, from one run over tokens [1, T]."""
    seen = _watch(model, tokens.numpy())
    frozen = (
        Lint("decay resolution", f.where, f.share, 0.0, f.ones > 0, f.sentence)
        for f in frozen_decays(model, tokens)
    )
    found = [*_states(model, seen), *_saturations(seen), *_accumulators(model), _integers(model)]
    return (*found, *frozen)


def _watch(model: Model, tokens: np.ndarray) -> Seen:
    """Run the model; where it is causal, in pieces, as states of many tokens fill the memory."""
    types = {
        f"{s.name}/{name}": s.graph.types[name]
        for s in model.segments
        for node in s.graph.nodes
        if isinstance(node.op, DecayUpdate)
        for name in node.inputs[:2]
        if name not in s.graph.consts
    }
    piece = tokens.shape[1]
    if model.is_causal:
        piece = max(1, MOST_KEPT // max(sum(t.size for t in types.values()), 1))
    executor, states = TorchExecutor(model), None
    seen = Seen({}, {}, Counter(), Counter())
    for start in range(0, tokens.shape[1], piece):
        run = executor.run({"token": tokens[:, start : start + piece]}, states, keep=types)
        states = run.states if model.is_causal else None
        seen.clipped.update(run.clipped)
        seen.elements.update(run.elements)
        for name, value in run.values.items():
            each = value.reshape(-1, *types[name].shape)
            low = each.min(axis=0)
            top = np.maximum(each.max(axis=0), -low)
            seen.least[name] = np.minimum(low, seen.least.get(name, low))
            seen.largest[name] = np.maximum(top, seen.largest.get(name, top))
    return seen


def _states(model: Model, seen: Seen) -> Iterator[Lint]:
    for segment in model.segments:
        for node in segment.graph.nodes:
            if isinstance(node.op, DecayUpdate):
                h, k = node.inputs[:2]
                least = segment.graph.tensors[k] if k in segment.graph.consts else None
                if least is None:
                    least = seen.least[f"{segment.name}/{k}"]
                yield from _state(segment, node, least, seen.largest[f"{segment.name}/{h}"])


def _state(segment: Segment, node: Node, least: np.ndarray, largest: np.ndarray) -> Iterator[Lint]:
    op, where = node.op, f"{segment.name}/{node.name}"
    assert isinstance(op, DecayUpdate)
    noun = "channel" if least.shape[-1] > 1 else "head"
    frozen = int((least == 0).sum())
    slow = least.min(axis=-1, keepdims=True)
    slowest = slow.reshape(-1).astype(float)
    yield Lint(
        "decay resolution",
        where,
        float(slowest.min()),
        LEAST_DECAY_LSBS,
        bool(slowest.min() < LEAST_DECAY_LSBS),
        f"the smallest 1 - decay seen is {slowest.min():.0f} LSB of 2^-{op.decay_bits}; {frozen} "
        f"of {least.size} decays rounded to exactly 1; {worst_heads(slowest, noun, ',.0f', False)}",
        tuple(slowest.tolist()),
    )
    # Rounding half up stops moving where |h| k < 1/2 LSB: of the state, or of a group's scale.
    code_bits = _code_bits(segment.graph, node)
    ceiling = (1 << (code_bits - 1)) - 1 if code_bits else op.dtype.hi
    limit, whose = (MOST_GROUP_DEADBAND, "group's ") if code_bits else (MOST_DEADBAND, "")
    deadband = 0.5 * 2.0**op.decay_bits / np.maximum(slowest, 1)
    share = np.where(slowest == 0, 1.0, np.minimum(deadband / ceiling, 1.0))
    yield Lint(
        "state deadband",
        where,
        float(share.max()),
        limit,
        bool(share.max() > limit),
        f"without input the slowest state stops at {share.max():.2%} of its {whose}ceiling; "
        f"{int((share > limit).sum())} of {share.size} {noun}s stop above {limit:.1%}; "
        f"{worst_heads(share, noun, '.2%')}",
        tuple(share.tolist()),
    )
    reached = _by_head(largest, slow.shape) / op.dtype.hi
    yield Lint(
        "state ceiling",
        where,
        float(reached.max()),
        MOST_OF_CEILING,
        bool(reached.max() > MOST_OF_CEILING),
        f"the state reached {reached.max():.1%} of its ceiling; "
        f"{worst_heads(reached, noun, '.1%')}",
        tuple(reached.tolist()),
    )


def _by_head(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the largest of each head [heads]; `shape` is 1 along the axes inside a head.

    >>> _by_head(np.arange(12).reshape(2, 2, 3), (2, 1, 1)).tolist()
    [5, 11]
    """
    whole = (1,) * (value.ndim - len(shape)) + shape
    inside = tuple(k for k, size in enumerate(whole) if size == 1)
    top: np.ndarray = value.max(axis=inside).reshape(-1)
    return top


def worst_heads(values: np.ndarray, noun: str, form: str, largest: bool = True) -> str:
    """Name the worst heads by their numbers, and the range of all.

    >>> worst_heads(np.array([0.5, 0.25, 0.75, 0.0]), "head", ".0%")
    'worst heads 2 (75%), 0 (50%), 1 (25%) of 0%..75%'
    """
    if values.size == 1:
        return f"one {noun}"
    order = np.argsort(-values if largest else values, kind="stable")[:WORST_HEADS]
    worst = ", ".join(f"{k} ({values[k]:{form}})" for k in order)
    return f"worst {noun}s {worst} of {values.min():{form}}..{values.max():{form}}"


def _code_bits(graph: Graph, update: Node) -> int:
    """Return the width of the codes that a state is kept in, 0 where it is kept as it is."""
    for node in graph.nodes:
        if node.name == update.inputs[0] and isinstance(node.op, Dequantize):
            return graph.types[node.inputs[0]].dtype.bits
    return 0


def _saturations(seen: Seen) -> Iterator[Lint]:
    for name, clipped in seen.clipped.items():
        if clipped:
            rate = clipped / seen.elements[name]
            yield Lint(
                "saturation",
                name,
                rate,
                MOST_SATURATION,
                rate > MOST_SATURATION,
                f"{clipped} of {seen.elements[name]} values saturated ({rate:.2e})",
            )


def _accumulators(model: Model) -> Iterator[Lint]:
    """Tell of the widest accumulator, and of each with fewer than 8 bits to spare."""
    widths = {
        f"{segment.name}/{node.name}": segment.graph.types[node.name].dtype.bits
        for segment in model.segments
        for node in segment.graph.nodes
        if isinstance(node.op, Linear | SpikeLinear | Fir | Contract)
    }
    widest = max(widths, key=widths.__getitem__, default="")
    for where, bits in widths.items():
        if where == widest or bits > ACCUMULATOR_BITS - 8:
            most = f"; the widest of {len(widths)}" if where == widest else ""
            yield Lint(
                "accumulator headroom",
                where,
                bits,
                ACCUMULATOR_BITS,
                bits > ACCUMULATOR_BITS,
                f"the proved sum needs {bits} bits of a {ACCUMULATOR_BITS}-bit accumulator{most}",
            )


def _integers(model: Model) -> Lint:
    ops = [node.op for s in model.segments for node in s.graph.nodes]
    share = sum(type(op) in ALL for op in ops) / len(ops)
    return Lint(
        "integer share",
        model.name,
        share,
        1.0,
        share < 1.0,
        f"{share:.1%} of {len(ops)} operators are integer",
    )
