"""Warn about states whose decay has few fraction bits: how often is it exactly one?

Such a state never forgets (LightMamba's released graph; see `cosim/ops/shift_decay.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor

from cosim.ir.graph import Node
from cosim.ir.model import Model
from cosim.ops import ShiftDecay
from cosim.torch_exec import TorchExecutor


class Frozen(NamedTuple):
    """Count the decays of one state that are exactly one, over tokens and over heads."""

    where: str
    decays: int
    ones: int
    heads: int
    heads_with_one: int
    down: int

    @property
    def share(self) -> float:
        """Return the share of the decays that are exactly one."""
        return self.ones / self.decays

    @property
    def sentence(self) -> str:
        """Say it."""
        top = 1 << self.down
        return (
            f"{self.ones} of {self.decays} decays ({self.share:.1%}) are exactly 1, in "
            f"{self.heads_with_one} of {self.heads} heads; the next one is {top - 1}/{top}"
        )


def frozen_decays(model: Model, tokens: Tensor) -> Iterator[Frozen]:
    """Run a model over tokens [1, T] and count, for each state with such a decay."""
    found = [
        (segment, node)
        for segment in model.segments
        for node in segment.graph.nodes
        if isinstance(node.op, ShiftDecay)
    ]
    if not found:
        return
    keep = {
        f"{segment.name}/{name}"
        for segment, node in found
        for name in node.inputs[2:4]
        if name not in segment.graph.consts
    }
    values = TorchExecutor(model).run({"token": tokens.numpy()}, keep=keep, count=False).values
    for segment, node in found:
        tensors = segment.graph.tensors
        a, t = (
            tensors[name] if name in tensors else values[f"{segment.name}/{name}"]
            for name in node.inputs[2:4]
        )
        yield _counted(f"{segment.name}/{node.name}", node, a << t)


def _counted(where: str, node: Node, decay: np.ndarray) -> Frozen:
    assert isinstance(node.op, ShiftDecay)
    ones = decay >= 1 << node.op.down
    each = ones.reshape(-1, *ones.shape[2:]) if ones.ndim > 3 else ones[None]
    heads = each.any(axis=0)
    return Frozen(where, ones.size, int(ones.sum()), heads.size, int(heads.sum()), node.op.down)
