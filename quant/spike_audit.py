"""Measure what the linear layers of an integer model would be as spikes, from one run.

Glossary (of one layer; over all tokens and channels that were run):
    c         counts: the layer's input codes [N, K], as they are before any clip
    T         time steps: the graph's own, else what signed bits need for the largest |c| seen
    spikes    ones a channel and token: signed bits popcount|c|, a rate |c|, two's complement; where
              the graph clips, of what it keeps, and so are lock-step and balance
    window    sparsity of the lowest 3 signed bits where |c| is clipped to 7: SpikingBrain's reading
    lock-step steps of a tile whose channels wait for the longest count: its largest bit length
    balance   mean load of the lanes over the largest: 1 is even; channel k is of lane k mod lanes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.graph import Graph, Node
from cosim.ir.model import Model
from cosim.ir.types import TensorType, signed_bits
from cosim.ops import Clip, Linear, SpikeEncode, SpikeLinear
from cosim.torch_exec import TorchExecutor

WINDOW_STEPS = 3


@dataclass(frozen=True)
class LayerSpikes:
    """Hold one layer: its size, what its operand truly is, and what its counts did."""

    where: str
    channels: int
    rows: int
    operand: str  # binary, ternary or integer
    weight_bits: int
    count_bits: int
    accumulator_bits: int
    steps: int
    largest: int
    silent: float
    small: float
    spikes: float
    rate: float
    twos: float
    sparsity: float
    window_sparsity: float
    clipped: float
    clip_error: float
    lockstep_steps: float
    balance: float

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one token on counts."""
        return self.channels * self.rows


@dataclass(frozen=True)
class SpikeAudit:
    """Hold all layers, and the multiply-accumulates of everything else in a token."""

    layers: tuple[LayerSpikes, ...]
    other_macs: int
    tokens: int
    tile: int
    lanes: int

    @property
    def macs(self) -> int:
        """Return all multiply-accumulates of one token."""
        return self.other_macs + sum(x.macs for x in self.layers)

    @property
    def spiking_macs(self) -> int:
        """Return those whose operand is truly binary or ternary."""
        return sum(x.macs for x in self.layers if x.operand != "integer")

    def mean(self, what: str) -> float:
        """Return the mean of a field over the layers, each by its multiply-accumulates."""
        total = sum(x.macs for x in self.layers)
        return float(sum(getattr(x, what) * x.macs for x in self.layers) / total)


def audit(
    model: Model, inputs: Mapping[str, np.ndarray], tile: int = 64, lanes: int = 16
) -> SpikeAudit:
    """Run a window and measure every linear layer; raise UserError where there is none."""
    if tile < 1 or lanes < 1:
        raise UserError(f"spikes: tile {tile} and lanes {lanes} must be at least 1")
    places = [
        (s.name, s.graph, node, counts_of(s.graph, node))
        for s in model.segments
        for node in s.graph.nodes
        if isinstance(node.op, Linear | SpikeLinear)
    ]
    if not places:
        raise UserError(f"model {model.name} has no linear layer; there is nothing to audit")
    keep = {f"{name}/{counts}" for name, _, _, counts in places}
    values = TorchExecutor(model).run(inputs, keep=keep, count=False).values
    layers = [
        _layer(f"{name}/{node.name}", graph, node, values[f"{name}/{counts}"], tile, lanes)
        for name, graph, node, counts in places
    ]
    others = sum(
        sum(node.op.work(s.graph.input_types(node), s.graph.types[node.name]).macs.values())
        for s in model.segments
        for node in s.graph.nodes
        if not isinstance(node.op, Linear | SpikeLinear)
    )
    tokens = int(np.prod(next(iter(values.values())).shape[:-1]))
    return SpikeAudit(tuple(layers), others, tokens, tile, lanes)


def counts_of(graph: Graph, node: Node) -> str:
    """Return the value that a layer's input is before it is clipped and encoded."""
    makers = {n.name: n for n in graph.nodes}
    name = node.inputs[0]
    for kind in (SpikeEncode, Clip):
        if (
            isinstance(node.op, SpikeLinear)
            and name in makers
            and isinstance(makers[name].op, kind)
        ):
            name = makers[name].inputs[0]
    return name


def _layer(
    where: str, graph: Graph, node: Node, counts: np.ndarray, tile: int, lanes: int
) -> LayerSpikes:
    c = counts.reshape(-1, counts.shape[-1])
    kept = _held(graph, node, c)
    own, w = graph.types[node.inputs[0]], graph.types[node.inputs[1]]
    lengths, ones = bit_lengths(np.abs(kept)), np.bitwise_count(np.abs(kept))
    sizes, largest = np.abs(c), int(np.abs(c).max())
    steps = node.op.steps if isinstance(node.op, SpikeLinear) else max(largest.bit_length(), 1)
    lost = np.abs(c - kept).astype(np.float64)
    power = max(float(np.square(c.astype(np.float64)).sum()), 1.0)
    # A coding of the graph's own is measured as it is sent.
    sent = float(ones.mean())
    if isinstance(node.op, SpikeLinear) and node.op.coding == "twos_complement":
        sent = float(np.bitwise_count(kept & ((1 << steps) - 1)).mean())
    if isinstance(node.op, SpikeLinear) and node.op.coding.startswith("rate"):
        sent = float(np.abs(kept).mean())
    bits = signed_bits(int(c.min()), int(c.max()))
    load = np.stack([ones[:, k::lanes].sum(axis=1) for k in range(min(lanes, c.shape[1]))])
    window = np.bitwise_count(np.minimum(sizes, (1 << WINDOW_STEPS) - 1)).mean()
    reach = w.shape[1] * w.peak * max(int(np.abs(kept).max()), 1)
    return LayerSpikes(
        where, w.shape[1], w.shape[0], _operand(own), w.dtype.bits, bits,
        signed_bits(-reach, reach), steps, largest,
        silent=float((c == 0).mean()),
        small=float((sizes <= (1 << WINDOW_STEPS) - 1).mean()),
        spikes=float(ones.mean()),
        rate=float(sizes.mean()),
        twos=float(np.bitwise_count(c & ((1 << bits) - 1)).mean()),
        sparsity=1 - sent / steps,
        window_sparsity=1 - float(window) / WINDOW_STEPS,
        clipped=float((lost > 0).mean()),
        clip_error=float(np.sqrt(np.square(lost).sum() / power)),
        lockstep_steps=_lockstep(lengths, tile),
        balance=_balance(load),
    )  # fmt: skip


def bit_lengths(sizes: np.ndarray) -> np.ndarray:
    """Return the bit length of each number >= 0.

    >>> bit_lengths(np.array([0, 1, 2, 7, 8])).tolist()
    [0, 1, 2, 3, 4]
    """
    found: np.ndarray = np.frexp(sizes.astype(np.float64))[1]
    return found


def _operand(type_: TensorType) -> str:
    """Say what a product's operand is by its proved range."""
    if type_.lo >= 0 and type_.hi <= 1:
        return "binary"
    return "ternary" if type_.peak <= 1 else "integer"


def _held(graph: Graph, node: Node, c: np.ndarray) -> np.ndarray:
    """Return the counts as the steps hold them."""
    makers = {n.name: n for n in graph.nodes}
    encode = makers.get(node.inputs[0])
    if not isinstance(node.op, SpikeLinear) or encode is None or encode.inputs[0] not in makers:
        return c
    clip = makers[encode.inputs[0]].op
    return np.clip(c, clip.low, clip.high) if isinstance(clip, Clip) else c


def _lockstep(lengths: np.ndarray, tile: int) -> float:
    """Return the mean over tokens and tiles of the longest count; the last tile may be smaller."""
    starts = range(0, lengths.shape[1], tile)
    return float(np.mean([lengths[:, k : k + tile].max(axis=1) for k in starts]))


def _balance(load: np.ndarray) -> float:
    """Return the mean of mean load over largest [lanes, N]; tokens without a spike are even."""
    top = load.max(axis=0)
    even = np.where(top > 0, load.mean(axis=0) / np.maximum(top, 1), 1.0)
    return float(even.mean())
