"""Multiply activations of group scales exactly with int8 products: digit by digit, then summed.

Scales that differ along a row make the operands wider than a byte, and a product in float64 is
nine times slower than one in int8 (measured with AVX-512 VNNI). Cut into bytes they fit again.

Glossary (n tokens, K columns, R rows of weights):
    x    [n, K]     q S(c), the codes times the scales of their groups, in lo..hi
    x_d  [n, K]     its digits, each in -128..127: x = sum over d of 256^d x_d
    P_d  [n, R]     x_d W^T of the columns of one weight group, int32
    y    [n, R]     sum over weight groups g of m[r, g] sum over d of 256^d P_d

Many small groups would cost a pass over the products each. Then the weights are scaled and cut
into digits as well, W m = sum over e of 256^e W_e, and all columns are one group:
    y    [n, R]     sum over e of 256^e sum over d of 256^d x_d W_e^T
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from cosim.ir.types import TensorType
from cosim.kernels.compiled import compiled
from cosim.kernels.matmul import INT8_EXACT, has_int8
from cosim.kernels.rows import carrier, rows_of
from cosim.ops.group_scale import code_bounds
from cosim.ops.linear import Linear

# Seven int8 products and their sum took as long as one product in float64 (see tests/benchmarks).
MOST_DIGITS = 6
INT64_LIMIT = 1 << 63
# Products held at once, all digits of a block of tokens: 1 MiB, the L2 cache of a core.
BLOCK_INTEGERS = 1 << 18
# What a pass over the products of a block costs, in columns of an int8 product.
PASS_COLUMNS = 64
# Code 0 without mantissa bits is the scale 1.
NO_CODES = np.zeros(1, dtype=np.int32)


def digit_count(lo: int, hi: int) -> int:
    """Return how many digits of -128..127 all integers in lo..hi need.

    >>> digit_count(-128, 127), digit_count(-128, 128), digit_count(-32896, 32639)
    (1, 2, 2)
    """
    count, ones = 1, 1
    while not -128 * ones <= lo <= hi <= 127 * ones:
        count, ones = count + 1, 256 * ones + 1
    return count


@compiled
def split_rows(
    q: np.ndarray,
    q_step: int,
    codes: np.ndarray,
    codes_step: int,
    mantissa_bits: int,
    group: int,
    columns: tuple[int, int],
    out: np.ndarray,
) -> None:
    """Scale the columns first..last of every row and write their digits, out [digits, n, width]."""
    first, last = columns
    digits, rows, width = out.shape
    mask = (1 << mantissa_bits) - 1
    x = np.empty(width, np.int64)
    for r in range(rows):
        for g in range(first // group, (last - 1) // group + 1):
            code = np.int64(codes[r * codes_step + g])
            scale = ((code & mask) + (1 << mantissa_bits)) << (code >> mantissa_bits)
            start, stop = max(first, g * group), min(last, (g + 1) * group)
            part = x[start - first : stop - first]
            q_part = q[r * q_step + start : r * q_step + stop]
            for k in range(stop - start):
                part[k] = np.int64(q_part[k]) * scale
        for d in range(digits):
            row = out[d, r]
            for k in range(width):
                digit = ((x[k] + 128) & 255) - 128
                row[k] = digit
                x[k] = (x[k] - digit) >> 8


@compiled
def sum_digits(
    products: np.ndarray, multiplier: np.ndarray, is_first: bool, out: np.ndarray
) -> None:
    """Sum the products [digits, n, R] into out [n, R], scaled by row; add to it where not first."""
    digits, rows, size = products.shape
    total = np.empty(size, np.int64)
    for r in range(rows):
        top = products[digits - 1, r]
        for c in range(size):
            total[c] = top[c]
        for d in range(digits - 2, -1, -1):
            row = products[d, r]
            for c in range(size):
                total[c] = (total[c] << 8) + row[c]
        y = out[r]
        if is_first:
            for c in range(size):
                y[c] = total[c] * multiplier[c]
        else:
            for c in range(size):
                y[c] += total[c] * multiplier[c]


class DigitLinear:
    """Hold a linear operator's weights for products digit by digit; see `applies`."""

    def __init__(
        self, op: Linear, types: Sequence[TensorType], w: np.ndarray, m: np.ndarray
    ) -> None:
        """Cut w [R, K] into its weight groups, each with its column of m [R, groups]."""
        self.op, self.types = op, types
        self.k = types[0].shape[0]
        self.digits = digit_count(*scaled_bounds(op, types))
        self.out = op.infer(types)
        self.parts = (
            [((0, self.k), _weight_digits(op, w, m))]
            if folding_pays(op, types, w)
            else [
                ((first, last), [(_int8(w[:, first:last]), np.ascontiguousarray(m[:, g]))])
                for g, (first, last) in enumerate(group_edges(op, self.k))
            ]
        )

    @staticmethod
    def applies(op: Linear, types: Sequence[TensorType], w: np.ndarray) -> bool:
        """Tell whether the processor has int8 products, and every sum of them is exact."""
        k = types[0].shape[0]
        widths = [last - first for first, last in group_edges(op, k)]
        digits = digit_count(*scaled_bounds(op, types))
        row_sum = int(np.abs(w).sum(axis=1).max())
        top = types[2].peak * row_sum * 128 * 256 ** (digits - 1)
        return (
            digits <= MOST_DIGITS
            and int(w.min()) >= -128
            and int(w.max()) <= 127
            and row_sum * 128 < INT8_EXACT
            and 2 * top < INT64_LIMIT
            and all(has_int8("cpu", width, w.shape[0], 1) for width in widths)
        )

    def product(self, q: torch.Tensor, codes: torch.Tensor | None) -> torch.Tensor:
        """Return integers [..., R] for codes q [..., K] and the scale codes of their groups."""
        lead = tuple(q.shape[:-1])
        flat = rows_of(q, lead, (self.k,))
        rows = prod(lead)
        scales, step, mantissa_bits, group = NO_CODES, 0, 0, self.k
        if codes is not None:
            found = rows_of(codes, lead, self.types[3].shape)
            scales, step = found.flat, found.step
            mantissa_bits, group = self.op.mantissa_bits, self.op.act_group
        y = torch.empty((rows, self.out.shape[0]), dtype=carrier(self.out.peak))
        block = max(1, min(rows, BLOCK_INTEGERS // (self.digits * y.shape[1])))
        for k, (columns, planes) in enumerate(self.parts):
            # Both are used again for every block, so that they stay in the cache.
            x = torch.empty((self.digits, block, columns[1] - columns[0]), dtype=torch.int8)
            products = torch.empty((self.digits * block, y.shape[1]), dtype=torch.int32)
            for start in range(0, rows, block):
                some = y[start : start + block]
                if some.shape[0] < block:
                    x, products = (
                        x[:, : some.shape[0]].contiguous(),
                        products[: self.digits * some.shape[0]],
                    )
                split_rows(
                    flat.flat[start * flat.step :],
                    flat.step,
                    scales[start * step :],
                    step,
                    mantissa_bits,
                    group,
                    columns,
                    x.numpy(),
                )
                shaped = products.view(self.digits, some.shape[0], -1).numpy()
                for e, (w, multiplier) in enumerate(planes):
                    torch._int_mm(x.view(-1, x.shape[2]), w, out=products)
                    sum_digits(shaped, multiplier, k + e == 0, some.numpy())
        return y.view(*lead, -1)


def _int8(w: np.ndarray) -> torch.Tensor:
    """Lay weights [R, k] out for the int8 product, [k, R]."""
    return torch.from_numpy(w).to(torch.int8).t().contiguous()


def _weight_digits(
    op: Linear, w: np.ndarray, m: np.ndarray
) -> list[tuple[torch.Tensor, np.ndarray]]:
    """Scale the weights and cut them into digits, each with its power of 256 for every row."""
    x = w.astype(np.int64) * np.repeat(m.astype(np.int64), op.weight_group, axis=1)[:, : w.shape[1]]
    planes = []
    for e in range(digit_count(int(x.min()), int(x.max()))):
        digit = ((x + 128) & 255) - 128
        planes.append((_int8(digit), np.full(w.shape[0], 256**e, dtype=np.int64)))
        x = (x - digit) >> 8
    return planes


def folding_pays(op: Linear, types: Sequence[TensorType], w: np.ndarray) -> bool:
    """Tell whether digits of scaled weights are exact and cost less than a product per group."""
    k, groups = types[0].shape[0], len(group_edges(op, types[0].shape[0]))
    most = types[2].peak
    planes = digit_count(min(int(w.min()) * most, 0), max(int(w.max()) * most, 0))
    digits = digit_count(*scaled_bounds(op, types))
    exact = k << 14 < INT8_EXACT and k << 15 + 8 * (digits + planes - 2) < INT64_LIMIT
    return exact and planes * (k + PASS_COLUMNS) < k + groups * PASS_COLUMNS


def group_edges(op: Linear, k: int) -> list[tuple[int, int]]:
    """Return the first and last column of each weight group."""
    return [(first, min(first + op.weight_group, k)) for first in range(0, k, op.weight_group)]


def scaled_bounds(op: Linear, types: Sequence[TensorType]) -> tuple[int, int]:
    """Bound the activations times their scales."""
    scale = code_bounds(types[3], op.mantissa_bits)[1] if op.act_group else 1
    return min(types[0].lo * scale, types[0].lo), max(types[0].hi * scale, types[0].hi)
