"""Run the `linear` operator over many tokens with one matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cosim.ir.errors import InternalError
from cosim.ir.types import TensorType
from cosim.kernels.matmul import Weight
from cosim.ops.group_scale import code_bounds, decode_scale, expand_groups
from cosim.ops.linear import Linear


class PreparedLinear:
    """Hold one linear operator with its constant weights ready for a device.

    With one scale per row and one per token, the product runs on the bare codes and both scales
    follow it. Otherwise they are folded into the operands first; both are exact, because every
    scale is an integer.
    """

    def __init__(
        self,
        op: Linear,
        types: Sequence[TensorType],
        data: Sequence[np.ndarray | None],
        device: torch.device,
    ) -> None:
        """Fold group multipliers into the weights where there are several per row."""
        if data[1] is None or data[2] is None:
            raise InternalError("linear needs constant weights and multipliers")
        self.op, self.types = op, types
        self.k = types[0].shape[0]
        w, m = torch.from_numpy(data[1]), torch.from_numpy(data[2])
        self.row_scales = m.shape[1] == 1
        self.token_scale = op.act_group >= self.k
        self.multiplier: torch.Tensor | None = None
        if self.row_scales:
            column = m[:, 0].to(device)
            self.multiplier = None if bool((column == 1).all()) else column
        else:
            w = w * expand_groups(m, op.weight_group, self.k)
        self.weight = Weight(w, device)
        self.peak = types[0].peak
        if op.act_group and not self.token_scale:
            self.peak *= code_bounds(types[3], op.mantissa_bits)[1]

    def product(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return int64 [..., R]."""
        q = inputs[0]
        scale = None
        if self.op.act_group:
            scale = decode_scale(inputs[3].to(torch.int64), self.op.mantissa_bits)
            if not self.token_scale:
                q = q.to(torch.int64) * expand_groups(scale, self.op.act_group, self.k)
                scale = None
        y = self.weight.product(q, self.peak)
        if self.multiplier is not None:
            y = y * self.multiplier
        return y if scale is None else y * scale
