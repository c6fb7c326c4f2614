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
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

from cosim.ir.types import TensorType
from cosim.kernels.compiled import bit_length_of, compiled, count_leading_zeros
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
def scale_operands(
    q: np.ndarray,
    q_step: int,
    codes: np.ndarray,
    codes_step: int,
    mantissa_bits: int,
    group: int,
    columns: tuple[int, int],
    x: np.ndarray,
    shifts: np.ndarray,
) -> int:
    """Scale the columns first..last of every row, drop the zeros below all of its integers.

    Write x [n, width] and the shifts [n] that undo it; return how many digits the block needs.
    """
    first, last = columns
    rows, width = x.shape
    mask = (1 << mantissa_bits) - 1
    needed = 1
    for r in range(rows):
        row = x[r]
        for g in range(first // group, (last - 1) // group + 1):
            code = np.int64(codes[r * codes_step + g])
            scale = ((code & mask) + (1 << mantissa_bits)) << (code >> mantissa_bits)
            start, stop = max(first, g * group), min(last, (g + 1) * group)
            part = row[start - first : stop - first]
            q_part = q[r * q_step + start : r * q_step + stop]
            for k in range(stop - start):
                part[k] = np.int64(q_part[k]) * scale
        ones, magnitude = np.int64(0), np.int64(0)
        for k in range(width):
            ones |= row[k]
            magnitude |= row[k] ^ (row[k] >> 63)
        shift = 0 if ones == 0 else 63 - count_leading_zeros(ones & -ones)
        shifts[r] = shift
        for k in range(width):
            row[k] >>= shift
        # Digits are balanced: d of them hold 8 d - 2 bits and the sign, but one holds 7.
        bits = bit_length_of(magnitude >> shift)
        needed = max(needed, 1 if bits <= 7 else (bits + 1) // 8 + 1)
    return needed


@compiled
def split_rows(x: np.ndarray, out: np.ndarray) -> None:
    """Write the digits of x [n, width], lowest first, out [digits, n, width]; x is used up."""
    digits, rows, width = out.shape
    for r in range(rows):
        x_row = x[r]
        for d in range(digits):
            row = out[d, r]
            for k in range(width):
                digit = ((x_row[k] + 128) & 255) - 128
                row[k] = digit
                x_row[k] = (x_row[k] - digit) >> 8


@compiled
def sum_digits(
    products: np.ndarray,
    planes: int,
    multiplier: np.ndarray,
    shifts: np.ndarray,
    is_first: bool,
    out: np.ndarray,
) -> None:
    """Sum the products [digits, n, planes R] into out [n, R], or add to it where not first.

    Partial sums may wrap around: the whole one is proved to fit, and int64 wraps exactly.
    """
    digits, rows, _ = products.shape
    size = multiplier.size
    total = np.empty(size, np.int64)
    for r in range(rows):
        total[:] = 0
        for d in range(digits - 1, -1, -1):
            for c in range(size):
                total[c] <<= 8
            for e in range(planes):
                row = products[d, r, e * size : (e + 1) * size]
                for c in range(size):
                    total[c] += np.int64(row[c]) << 8 * e
        y = out[r]
        shift = shifts[r]
        if is_first:
            for c in range(size):
                y[c] = (total[c] << shift) * multiplier[c]
        else:
            for c in range(size):
                y[c] += (total[c] << shift) * multiplier[c]


@dataclass(frozen=True)
class Part:
    """Hold the weights of some columns as [k, planes R] int8, and what scales the sum of a row."""

    columns: tuple[int, int]
    planes: int
    w: torch.Tensor
    multiplier: np.ndarray


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
            [_folded(op, w, m)]
            if folding_pays(op, types, w)
            else [
                Part((first, last), 1, _int8(w[:, first:last]), np.ascontiguousarray(m[:, g]))
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
        most = self.digits * y.shape[1] * max(part.planes for part in self.parts)
        block = max(1, min(rows, BLOCK_INTEGERS // most))
        for k, part in enumerate(self.parts):
            width = part.columns[1] - part.columns[0]
            # All are used again for every block, so that they stay in the cache.
            x, shifts = np.empty((block, width), np.int64), np.empty(block, np.int64)
            split = torch.empty(self.digits * block * width, dtype=torch.int8)
            products = torch.empty(
                (self.digits * block, part.planes * y.shape[1]), dtype=torch.int32
            )
            for start in range(0, rows, block):
                some = y[start : start + block].numpy()
                n = some.shape[0]
                needed = scale_operands(
                    flat.flat[start * flat.step :],
                    flat.step,
                    scales[start * step :],
                    step,
                    mantissa_bits,
                    group,
                    part.columns,
                    x[:n],
                    shifts,
                )
                digits = min(needed, self.digits)
                operand = split[: digits * n * width].view(digits * n, width)
                split_rows(x[:n], operand.view(digits, n, width).numpy())
                torch._int_mm(operand, part.w, out=products[: digits * n])
                sums = products[: digits * n].view(digits, n, -1).numpy()
                sum_digits(sums, part.planes, part.multiplier, shifts, k == 0, some)
        return y.view(*lead, -1)


def _int8(w: np.ndarray) -> torch.Tensor:
    """Lay weights [R, k] out for the int8 product, [k, R]."""
    return torch.from_numpy(w).to(torch.int8).t().contiguous()


def _folded(op: Linear, w: np.ndarray, m: np.ndarray) -> Part:
    """Scale the weights and cut them into digits, which lie side by side."""
    x = w.astype(np.int64) * np.repeat(m.astype(np.int64), op.weight_group, axis=1)[:, : w.shape[1]]
    planes = digit_count(int(x.min()), int(x.max()))
    split = np.empty((planes, *w.shape), np.int8)
    split_rows(x, split)
    stacked = split.reshape(planes * w.shape[0], w.shape[1])
    return Part((0, w.shape[1]), planes, _int8(stacked), np.ones(w.shape[0], np.int64))


def folding_pays(op: Linear, types: Sequence[TensorType], w: np.ndarray) -> bool:
    """Tell whether digits of scaled weights are exact and cost less than a product per group."""
    k, groups = types[0].shape[0], len(group_edges(op, types[0].shape[0]))
    most = types[2].peak
    planes = digit_count(min(int(w.min()) * most, 0), max(int(w.max()) * most, 0))
    return k << 14 < INT8_EXACT and planes * (k + PASS_COLUMNS) < k + groups * PASS_COLUMNS


def group_edges(op: Linear, k: int) -> list[tuple[int, int]]:
    """Return the first and last column of each weight group."""
    return [(first, min(first + op.weight_group, k)) for first in range(0, k, op.weight_group)]


def scaled_bounds(op: Linear, types: Sequence[TensorType]) -> tuple[int, int]:
    """Bound the activations times their scales."""
    scale = code_bounds(types[3], op.mantissa_bits)[1] if op.act_group else 1
    return min(types[0].lo * scale, types[0].lo), max(types[0].hi * scale, types[0].hi)
