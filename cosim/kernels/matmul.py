"""Multiply integer matrices exactly with the fastest arithmetic that the proved bound allows."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

from cosim.ir.errors import InternalError, UserError

Arithmetic = Literal["float32", "float32 blocks", "float64", "int8", "int64"]

# Integers up to 2^p are exact in a binary float with a p-bit significand (IEEE 754).
FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
# The int8 kernels add up in int32.
INT8_EXACT = 1 << 31
LEAST_INT8_COLUMNS = 8
# cuBLASLt refuses int8 products whose leading dimensions are not multiples of 16 (pytorch issue
# 169956: K 16, R 16 and 17 rows on an A100); rows of zeros fill a batch up, exactly.
CUDA_ROWS = 32
MOST_ELEMENTS = 1 << 24  # 128 MiB of int64 products at once
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
    operand; `fits_int8` tells that all lie in -128..127, where that is known.

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
    return "int64"


def has_int8(device: str, k: int, rows: int, batch: int) -> bool:
    """Tell whether a device multiplies int8 into int32 exactly, and fast."""
    if device == "cuda":
        # Below that a product in float32 or float64 is one call, without a padded copy.
        return batch > 16 and k % 16 == 0 and rows % 16 == 0
    # Without VNNI, oneDNN adds pairs of products in 16 bits, where they saturate. With K = 1 the
    # product of torch 2.13 is wrong wherever R > 1; so few columns gain nothing anyway.
    return device == "cpu" and k >= LEAST_INT8_COLUMNS and torch.cpu._is_vnni_supported()


def block_width(product_peak: int) -> int:
    """Return how many products of that magnitude sum exactly in float32; 0 if not even one."""
    return (FLOAT32_EXACT - 1) // max(product_peak, 1)


def check_float32(device: str) -> None:
    """Raise UserError where torch may cut the operands of a float32 product to fewer bits.

    Its older and its newer settings are told apart by nothing but that reading the older one
    fails once the newer one was used.
    """
    library = torch.backends.mkldnn if device == "cpu" else torch.backends.cuda
    found = {
        # torch before 2.9 has the older setting alone.
        getattr(torch.backends, "fp32_precision", "none"),
        getattr(getattr(library, "matmul", None), "fp32_precision", "none"),
    }
    with contextlib.suppress(RuntimeError):  # of the newer setting
        found.add(torch.get_float32_matmul_precision())
    cut = found - {"none", "ieee", "highest"}
    if cut:
        raise UserError(
            f"torch is set to cut float32 products on {device} ({', '.join(sorted(cut))}), which "
            "would change bits; unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, or call "
            'torch.set_float32_matmul_precision("highest")'
        )


def check_products(device: torch.device) -> None:
    """Raise UserError where the device's float products lose bits, whatever torch's settings say.

    Libraries below torch obey variables of their own, such as NVIDIA_TF32_OVERRIDE.
    """
    for dtype, bits in ((torch.float32, 24), (torch.float64, 53)):
        small = bits // 2
        n = 64
        a, b = (1 << small) - 1, (1 << (bits - small)) - 1
        x = torch.full((n, n), 0.0, dtype=dtype, device=device).fill_diagonal_(float(a))
        y = torch.full((n, n), float(b), dtype=dtype, device=device)
        if not (bool((x @ y == a * b).all()) and bool((y @ x == a * b).all())):
            raise UserError(
                f"{dtype} products on {device} lose bits: {a} x {b} is not {a * b}; unset "
                "variables such as NVIDIA_TF32_OVERRIDE, or give --device cpu"
            )


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
            w = self._move(dtype)
            # cuBLASLt multiplies int8 wherever K is the contiguous axis of both operands.
            turned = dtype == torch.int8 and self._device.type == "cuda"
            self._forms[dtype] = w.contiguous().t() if turned else w.t().contiguous()
        return self._forms[dtype]

    def _move(self, dtype: torch.dtype) -> torch.Tensor:
        return self._integers.to(self._device, dtype)

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
        if form.startswith("float32"):
            check_float32(self._device.type)
        if form == "float32":
            y = flat.to(torch.float32) @ self._as(torch.float32)
        elif form == "float32 blocks":
            y = self._blocks(flat, x_peak)
        elif form == "float64":
            y = flat.to(torch.float64) @ self._as(torch.float64)
        elif form == "int8":
            y = self._int8(flat.to(torch.int8))
        elif self._device.type == "cpu":
            y = flat.to(torch.int64) @ self._as(torch.int64)
        else:
            y = self._elements(flat.to(torch.int64))
        return y.reshape(*lead, self.rows)

    def _int8(self, flat: torch.Tensor) -> torch.Tensor:
        w, count = self._as(torch.int8), flat.shape[0]
        if self._device.type != "cuda":
            return torch._int_mm(flat, w)
        fill = -count % CUDA_ROWS
        rows = torch.nn.functional.pad(flat.contiguous(), (0, 0, 0, fill))
        return torch._int_mm(rows, w)[:count]

    def _elements(self, flat: torch.Tensor) -> torch.Tensor:
        """Multiply element by element: torch has products of int64 matrices on the CPU alone."""
        w = self._as(torch.int64).t()
        step = max(1, MOST_ELEMENTS // max(1, self.k * self.rows))
        parts = [
            (flat[start : start + step, None] * w).sum(-1)
            for start in range(0, flat.shape[0], step)
        ]
        return torch.cat(parts) if parts else flat.new_empty((0, self.rows))

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
