"""Multiply integer matrices exactly with the fastest arithmetic that the proved bound allows."""

from __future__ import annotations

from typing import Literal

import torch

from cosim.ir.errors import InternalError

Arithmetic = Literal["float32", "float32 blocks", "float64", "int8", "int64"]

# Integers up to 2^p are exact in a binary float with a p-bit significand (IEEE 754).
FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
# The int8 kernels add up in int32.
INT8_EXACT = 1 << 31
LEAST_INT8_COLUMNS = 8
# Past this many blocks float64 was as fast or faster on the CPUs that we measured.
MOST_BLOCKS = 4


def choose(
    bound: int,
    k: int,
    rows: int,
    device: str,
    operand_peak: int,
    batch: int,
    fits_int8: bool | None = None,
) -> Arithmetic:
    """Choose an arithmetic for batch x K times K x rows.

    `bound` is the proved bound of every partial sum, `operand_peak` the largest magnitude of an
    operand; `fits_int8` tells that all lie in -128..127, where that is known. Raise InternalError
    where the device has no exact arithmetic.

    >>> choose(2**24 - 1, 768, 3072, "cpu", 127, 512, fits_int8=False)
    'float32'
    >>> choose(2**25, 2048, 3072, "cpu", 127, 512, fits_int8=False)
    'float32 blocks'
    >>> choose(2**40, 768, 3072, "cpu", 2**15, 512)
    'float64'
    >>> choose(2**22, 768, 3072, "cuda", 127, 512)
    'int8'
    >>> choose(2**53, 768, 3072, "cpu", 2**30, 512)
    'int64'
    """
    narrow = operand_peak <= 127 if fits_int8 is None else fits_int8
    if narrow and bound < INT8_EXACT and has_int8(device, k, rows, batch):
        return "int8"
    if bound < FLOAT32_EXACT:
        return "float32"
    if k <= MOST_BLOCKS * block_width(operand_peak * operand_peak):
        return "float32 blocks"
    if bound < FLOAT64_EXACT:
        return "float64"
    if device != "cpu":
        raise InternalError(f"a sum up to {bound} has no exact arithmetic on {device}")
    return "int64"


def has_int8(device: str, k: int, rows: int, batch: int) -> bool:
    """Tell whether a device multiplies int8 into int32 exactly, and fast."""
    if device == "cuda":
        # torch._int_mm on CUDA wants more than 16 rows and dimensions divisible by 8.
        return batch > 16 and k % 8 == 0 and rows % 8 == 0
    # Without VNNI, oneDNN adds pairs of products in 16 bits, where they saturate. With K = 1 the
    # product of torch 2.13 is wrong wherever R > 1; so few columns gain nothing anyway.
    return device == "cpu" and k >= LEAST_INT8_COLUMNS and torch.cpu._is_vnni_supported()


def block_width(product_peak: int) -> int:
    """Return how many products of that magnitude sum exactly in float32; 0 if not even one."""
    return (FLOAT32_EXACT - 1) // max(product_peak, 1)


class Weight:
    """Hold a constant matrix W [R, K] ready for exact products with activations."""

    def __init__(self, w: torch.Tensor, device: torch.device) -> None:
        """Keep the integers and their largest row sum of magnitudes."""
        self.rows, self.k = w.shape
        self.row_sum = int(w.abs().sum(dim=1).max())
        self.peak = int(w.abs().max())
        self._fits_int8 = int(w.min()) >= -128 and int(w.max()) <= 127
        self._integers = w
        self._device = device
        self._forms: dict[torch.dtype, torch.Tensor] = {}

    def _as(self, dtype: torch.dtype) -> torch.Tensor:
        if dtype not in self._forms:
            self._forms[dtype] = self._integers.to(self._device, dtype).t().contiguous()
        return self._forms[dtype]

    def product(self, x: torch.Tensor, x_peak: int, form: Arithmetic | None = None) -> torch.Tensor:
        """Return x W^T as int64 [..., R] for integer x [..., K] with |x| <= x_peak.

        `form` forces an arithmetic that may be wrong; left out, it is chosen from the bounds.
        """
        y = self.integers(x, x_peak, form)
        return y.to(torch.int64)

    def integers(
        self,
        x: torch.Tensor,
        x_peak: int,
        form: Arithmetic | None = None,
        fits_int8: bool | None = None,
    ) -> torch.Tensor:
        """Return the same integers in whatever type the product came out, floats included."""
        lead = x.shape[:-1]
        flat = x.reshape(-1, self.k)
        bound = self.row_sum * x_peak
        if fits_int8 is not None:
            fits_int8 = fits_int8 and self._fits_int8
        form = form or choose(
            bound,
            self.k,
            self.rows,
            self._device.type,
            max(x_peak, self.peak),
            flat.shape[0],
            fits_int8,
        )
        if form.startswith("float32") and torch.get_float32_matmul_precision() != "highest":
            raise InternalError("float32 products are cut to TF32 or bfloat16 by a torch setting")
        if form == "float32":
            y = flat.to(torch.float32) @ self._as(torch.float32)
        elif form == "float32 blocks":
            y = self._blocks(flat, x_peak)
        elif form == "float64":
            y = flat.to(torch.float64) @ self._as(torch.float64)
        elif form == "int8":
            y = torch._int_mm(flat.to(torch.int8), self._as(torch.int8))
        else:
            y = flat.to(torch.int64) @ self._as(torch.int64)
        return y.reshape(*lead, self.rows)

    def _blocks(self, flat: torch.Tensor, x_peak: int) -> torch.Tensor:
        w = self._as(torch.float32)
        width = block_width(self.peak * x_peak)
        if width == 0:
            raise InternalError(f"a product up to {self.peak * x_peak} is not exact in float32")
        y = torch.zeros(flat.shape[0], self.rows, dtype=torch.int64, device=flat.device)
        x = flat.to(torch.float32)
        for start in range(0, self.k, width):
            stop = start + width
            y += (x[:, start:stop] @ w[start:stop]).to(torch.int64)
        return y
