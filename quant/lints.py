"""Warn about an integer model: decay, state, saturation, headroom, and what is not integer.

The slow heads of a state are where low precision hides (reference: LightMamba's released graph
never forgets where 1 - decay is below its last bit; see docs/results.md). All figures come from
the graph and one run over some tokens; a lint warns where `value` is past `limit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cosim.ir.graph import Graph, Node
from cosim.ir.model import Model
from cosim.ops import ALL, Contract, DecayUpdate, Dequantize, Fir, Linear
from cosim.reference import Run
from cosim.torch_exec import TorchExecutor

# k of fewer LSBs is off by more than 1/32 when it is rounded.
LEAST_DECAY_LSBS = 16.0
# A state that stops moving above 1/16 of its ceiling forgets visibly late.
MOST_DEADBAND = 1 / 16
# The largest code of a group with a shared scale is in the upper half of the codes, and the scale
# follows it down: only a deadband that reaches this half stops a group's maximum, at any size.
MOST_GROUP_DEADBAND = 1 / 2
MOST_SATURATION = 1e-3
# One DSP48 or DSP58 accumulates 48 bits (AMD UG579, UG1366/AM004).
ACCUMULATOR_BITS = 48


@dataclass(frozen=True)
class Lint:
    """Say one thing that a designer should know; `warns` where the value is past the limit."""

    kind: str
    where: str
    value: float
    limit: float
    warns: bool
    sentence: str


def lint_model(model: Model, tokens: Tensor) -> tuple[Lint, ...]:
    """Return all lints of an integer model, from one run over tokens [1, T]."""
    watched = {
        f"{s.name}/{node.inputs[k]}"
        for s in model.segments
        for node in s.graph.nodes
        if isinstance(node.op, DecayUpdate)
        for k in (0, 1)
        if node.inputs[k] not in s.graph.consts
    }
    run = TorchExecutor(model).run({"token": tokens.numpy()}, keep=watched)
    found = [*_states(model, run), *_saturations(run), *_accumulators(model), _integers(model)]
    return tuple(found)


def _states(model: Model, run: Run) -> Iterator[Lint]:
    for segment in model.segments:
        for node in segment.graph.nodes:
            if isinstance(node.op, DecayUpdate):
                where = f"{segment.name}/{node.name}"
                h, k = (
                    segment.graph.tensors[n]
                    if n in segment.graph.consts
                    else run.values[f"{segment.name}/{n}"]
                    for n in node.inputs[:2]
                )
                yield from _state(segment.graph, node, where, k, h)


def _state(graph: Graph, node: Node, where: str, k: np.ndarray, h: np.ndarray) -> Iterator[Lint]:
    op = node.op
    assert isinstance(op, DecayUpdate)
    least = k.reshape(-1, *graph.types[node.inputs[1]].shape).min(axis=0)
    frozen = int((least == 0).sum())
    slowest = float(least.min())
    yield Lint(
        "decay resolution",
        where,
        slowest,
        LEAST_DECAY_LSBS,
        slowest < LEAST_DECAY_LSBS,
        f"the smallest 1 - decay seen is {slowest:.0f} LSB of 2^-{op.decay_bits}; {frozen} of "
        f"{least.size} decays rounded to exactly 1",
    )
    # Rounding half up stops moving where |h| k < 1/2 LSB: of the state, or of a group's scale.
    code_bits = _code_bits(graph, node)
    ceiling = (1 << (code_bits - 1)) - 1 if code_bits else op.dtype.hi
    limit, whose = (MOST_GROUP_DEADBAND, "group's ") if code_bits else (MOST_DEADBAND, "")
    deadband = 0.5 * 2.0**op.decay_bits / np.maximum(least, 1)
    share = np.where(least == 0, 1.0, np.minimum(deadband / ceiling, 1.0))
    worst = float(share.max())
    yield Lint(
        "state deadband",
        where,
        worst,
        limit,
        worst > limit,
        f"without input the slowest state stops at {worst:.2%} of its {whose}ceiling; "
        f"{int((share > limit).sum())} of {share.size} heads or channels stop above {limit:.1%}",
    )
    reached = float(np.abs(h).max()) / op.dtype.hi
    yield Lint(
        "state ceiling",
        where,
        reached,
        0.99,
        reached > 0.99,
        f"the state reached {reached:.1%} of its ceiling",
    )


def _code_bits(graph: Graph, update: Node) -> int:
    """Return the width of the codes that a state is kept in, 0 where it is kept as it is."""
    for node in graph.nodes:
        if node.name == update.inputs[0] and isinstance(node.op, Dequantize):
            return graph.types[node.inputs[0]].dtype.bits
    return 0


def _saturations(run: Run) -> Iterator[Lint]:
    for name, clipped in run.clipped.items():
        if clipped:
            rate = clipped / run.elements[name]
            yield Lint(
                "saturation",
                name,
                rate,
                MOST_SATURATION,
                rate > MOST_SATURATION,
                f"{clipped} of {run.elements[name]} values saturated ({rate:.2e})",
            )


def _accumulators(model: Model) -> Iterator[Lint]:
    for segment in model.segments:
        for node in segment.graph.nodes:
            if isinstance(node.op, Linear | Fir | Contract):
                bits = segment.graph.types[node.name].dtype.bits
                if bits > ACCUMULATOR_BITS - 8:
                    yield Lint(
                        "accumulator headroom",
                        f"{segment.name}/{node.name}",
                        bits,
                        ACCUMULATOR_BITS,
                        bits > ACCUMULATOR_BITS,
                        f"the proved sum needs {bits} bits of a {ACCUMULATOR_BITS}-bit accumulator",
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
