"""Run the `linear` operator over many tokens with one matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cosim.ir.errors import InternalError
from cosim.ir.types import TensorType
from cosim.kernels.compiled import compiled
from cosim.kernels.digits import NO_CODES, DigitLinear
from cosim.kernels.matmul import Weight
from cosim.kernels.rows import carrier
from cosim.ops.group_scale import code_bounds, decode_scale, expand_groups
from cosim.ops.linear import Linear


@compiled
def scale_rows(
    y: np.ndarray,
    multiplier: np.ndarray,
    codes: np.ndarray,
    codes_step: int,
    mantissa_bits: int,
    out: np.ndarray,
) -> None:
    """Multiply exact products by the scales of their row and token, into integers."""
    size = multiplier.size
    mask = (1 << mantissa_bits) - 1
    for r in range(out.size // size):
        code = np.int64(codes[r * codes_step])
        token = ((code & mask) + (1 << mantissa_bits)) << (code >> mantissa_bits)
        y_row = y[r * size : (r + 1) * size]
        z = out[r * size : (r + 1) * size]
        for c in range(size):
            z[c] = np.int64(y_row[c]) * (multiplier[c] * token)


class PreparedLinear:
    """Hold one linear operator with its constant weights ready for a device.

    With one scale per row and one per token, the product runs on the bare codes and both scales
    follow it. Otherwise they are folded into the operands first, or the product runs digit by
    digit; all are exact, because every scale is an integer.
    """

    def __init__(
        self,
        op: Linear,
        types: Sequence[TensorType],
        data: Sequence[np.ndarray | None],
        device: torch.device,
        use_numba: bool,
    ) -> None:
        """Fold group multipliers into the weights where there are several per row."""
        if data[1] is None or data[2] is None:
            raise InternalError("linear needs constant weights and multipliers")
        self.op, self.types = op, types
        self.k = types[0].shape[0]
        self.use_numba = use_numba
        self.out = carrier(op.infer(types).peak)
        w, m = torch.from_numpy(data[1]), torch.from_numpy(data[2])
        self.row_scales = m.shape[1] == 1
        self.token_scale = op.act_group >= self.k
        self.digits: DigitLinear | None = None
        folds = not self.row_scales or (op.act_group > 0 and not self.token_scale)
        if use_numba and folds and DigitLinear.applies(op, types, data[1]):
            self.digits = DigitLinear(op, types, data[1], data[2])
            return
        self.multiplier: torch.Tensor | None = None
        if self.row_scales:
            column = m[:, 0]
            self.multiplier = None if bool((column == 1).all()) else column.to(device)
        else:
            w = w * expand_groups(m, op.weight_group, self.k)
            w = w.to(carrier(int(w.abs().max())))
        self.row = np.ones(w.shape[0], dtype=np.int64) if self.multiplier is None else data[2][:, 0]
        self.weight = Weight(w, device)
        self.peak = types[0].peak
        self.fits_int8 = types[0].lo >= -128 and types[0].hi <= 127
        if op.act_group and not self.token_scale:
            self.peak *= code_bounds(types[3], op.mantissa_bits)[1]
            self.fits_int8 = False

    def product(self, q: torch.Tensor, codes: torch.Tensor | None = None) -> torch.Tensor:
        """Return integers [..., R] for codes q [..., K] and, with scales per group, theirs."""
        if (codes is not None) != (self.op.act_group > 0):
            raise InternalError(f"linear has act_group={self.op.act_group}: scale codes disagree")
        if codes is not None and codes.ndim < q.ndim:
            # Codes that are constants have no axes before their own.
            codes = codes.expand(*q.shape[:-1], codes.shape[-1]).contiguous()
        if self.digits is not None:
            return self.digits.product(q, codes)
        if self.op.act_group and not self.token_scale:
            assert codes is not None
            scale = decode_scale(codes.to(torch.int64), self.op.mantissa_bits)
            q = q.to(torch.int64) * expand_groups(scale, self.op.act_group, self.k)
        y = self.weight.integers(q, self.peak, fits_int8=self.fits_int8)
        if self.use_numba:
            return self._scale(y, codes if self.token_scale else None)
        y = y.to(torch.int64)
        if self.multiplier is not None:
            y = y * self.multiplier
        if self.token_scale:
            assert codes is not None
            y = y * decode_scale(codes.to(torch.int64), self.op.mantissa_bits)
        return y

    def _scale(self, y: torch.Tensor, codes: torch.Tensor | None) -> torch.Tensor:
        """Multiply by both scales in one pass; without codes, by the scale 1."""
        out = torch.empty(y.shape, dtype=self.out)
        tokens = NO_CODES if codes is None else codes.reshape(-1).numpy()
        step, mantissa_bits = (0, 0) if codes is None else (1, self.op.mantissa_bits)
        flat = y.reshape(-1).numpy()
        scale_rows(flat, self.row, tokens, step, mantissa_bits, out.view(-1).numpy())
        return out
