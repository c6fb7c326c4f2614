"""Show the operators without arithmetic as views, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cosim.ir.op import Op, Types
from cosim.ir.types import TensorType
from cosim.kernels.rows import Data, Kernel, lead_of
from cosim.ops.slice import Slice


def prepare_slice(op: Op, _types: Types, _out: TensorType, _data: Data) -> Kernel | None:
    """Prepare a range of the last axis."""
    assert isinstance(op, Slice)
    start, length = op.start, op.stop - op.start

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        return inputs[0].narrow(-1, start, length), 0

    return run


def prepare_reshape(_op: Op, types: Types, out: TensorType, _data: Data) -> Kernel | None:
    """Prepare another shape of a token."""
    shape = out.shape

    def run(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, int]:
        return inputs[0].reshape(*lead_of(inputs, types), *shape), 0

    return run
