"""Run `spike_linear` over many tokens: decode the spikes, then one matrix product on the counts.

The sum over steps of weighed products is the product of the weighed sum, exactly: all integers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cosim.ir.types import TensorType
from cosim.kernels.linear import PreparedLinear
from cosim.kernels.rows import carrier
from cosim.ops.spike_linear import SpikeLinear, decode


class PreparedSpikeLinear:
    """Hold one product of spikes as the product of the counts that they stand for."""

    def __init__(
        self,
        op: SpikeLinear,
        types: Sequence[TensorType],
        data: Sequence[np.ndarray | None],
        device: torch.device,
        use_numba: bool,
    ) -> None:
        """Prepare the product for the range of the counts."""
        counted = op.counted(types)
        self.op = op
        self.carrier = carrier(counted[0].peak * op.steps)
        self.inner = PreparedLinear(op.product, counted, data, device, use_numba)
        self.counts = carrier(counted[0].peak)

    def product(self, spikes: torch.Tensor, codes: torch.Tensor | None = None) -> torch.Tensor:
        """Return integers [..., R] for spikes [..., T, K]."""
        counts = decode(self.op, spikes.to(self.carrier)).to(self.counts)
        return self.inner.product(counts, codes)
