"""Rotate by an unnormalised Hadamard matrix of +-1: only additions, exact, log2(n) bits wider.

Glossary (after Sylvester, Paley and Williamson; see Hedayat & Wallis, Ann. Statist. 6, 1978):
    n    order = base * 2^k with base 1, 12, 20, 28 or 40
    H_n  = H_base (x) H_2 (x) ... (x) H_2, rows orthogonal: H_n H_n^T = n I
    y    = x H_n^T over the last axis, in independent blocks of n
Base 12 and 20 are Paley's first construction over GF(11) and GF(19); 28 is his second over
GF(13); 40 is the double of 20. The factor 1/sqrt(n) is left to the next weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from cosim.ir.errors import UserError
from cosim.ir.numerics import Array, namespace
from cosim.ir.op import Op, Types, exact_type
from cosim.ir.types import TensorType
from cosim.ir.work import Work

# The largest odd-looking factor wins: 40 = 2 * 20 is kept as a base of its own so that the
# split base * 2^k of published designs (5120 = 40 * 128) is the one used here.
BASES = (40, 28, 20, 12, 1)


def split_order(n: int) -> tuple[int, int]:
    """Split n into (base, 2^k); raise UserError where no base divides n so.

    >>> split_order(5120), split_order(768), split_order(64)
    ((40, 128), (12, 64), (1, 64))
    """
    for base in BASES:
        power, rest = divmod(n, base)
        if n > 0 and rest == 0 and power & (power - 1) == 0:
            return base, power
    raise UserError(
        f"no Hadamard matrix of order {n}: the order must be 1, 12, 20, 28 or 40 times a power of "
        "two; take a recipe without rotations, such as w8a8-rtn"
    )


def _residues(p: int) -> np.ndarray:
    """Return the Jacobsthal matrix Q[i,j] = chi(i - j) of GF(p)."""
    squares = {x * x % p for x in range(1, p)}
    chi = [0] + [1 if x in squares else -1 for x in range(1, p)]
    return np.array([[chi[(a - b) % p] for b in range(p)] for a in range(p)])


def _paley_one(p: int) -> np.ndarray:
    s = np.zeros((p + 1, p + 1), dtype=np.int64)
    s[0, 1:], s[1:, 0], s[1:, 1:] = 1, -1, _residues(p)
    return s + np.eye(p + 1, dtype=np.int64)


def _paley_two(p: int) -> np.ndarray:
    c = np.zeros((p + 1, p + 1), dtype=np.int64)
    c[0, 1:], c[1:, 0], c[1:, 1:] = 1, 1, _residues(p)
    eye = np.eye(p + 1, dtype=np.int64)
    return np.kron(c, np.array([[1, 1], [1, -1]])) + np.kron(eye, np.array([[1, -1], [-1, -1]]))


def base_matrix(base: int) -> np.ndarray:
    """Return the +-1 matrix of a base order."""
    if base == 1:
        return np.ones((1, 1), dtype=np.int64)
    if base == 40:
        return np.kron(_paley_one(19), np.array([[1, 1], [1, -1]]))
    return _paley_two(13) if base == 28 else _paley_one(base - 1)


@lru_cache(maxsize=32)
def hadamard_matrix(n: int) -> np.ndarray:
    """Return H_n as an int64 array of +-1; raise UserError for orders without one here.

    >>> h = hadamard_matrix(24)
    >>> bool((h @ h.T == 24 * np.eye(24)).all())
    True
    """
    base, power = split_order(n)
    h = base_matrix(base)
    while power > 1:
        h = np.kron(h, np.array([[1, 1], [1, -1]]))
        power //= 2
    h.flags.writeable = False
    return h


@dataclass(frozen=True)
class Hadamard(Op):
    """Rotate blocks of `order` elements of the last axis; input x [..., K], out wider."""

    order: int

    name: ClassVar[str] = "hadamard"

    def infer(self, inputs: Types) -> TensorType:
        """Grow the bounds by the order."""
        (x,) = inputs
        split_order(self.order)
        if not x.shape or x.shape[-1] % self.order:
            raise self.refuse(f"blocks of {self.order} do not divide {x}")
        top = x.peak * self.order
        return exact_type(self, x.shape, -top, top)

    def meaning(self, *inputs: Array) -> Array:
        """Run log2(n / base) stages of butterflies, then the base matrix as sums and differences.

        The block is seen as [base, 2, ..., 2]; each stage replaces a pair (a, b) by
        (a + b, a - b).
        """
        (x,) = inputs
        xp = namespace(x)
        base, power = split_order(self.order)
        lead, size = x.shape[:-1], x.shape[-1]
        step = 1
        while step < power:
            pairs = xp.reshape(x, (*lead, size // (2 * step), 2, step))
            a, b = pairs[..., 0, :], pairs[..., 1, :]
            x = xp.reshape(xp.stack([a + b, a - b], axis=-2), (*lead, size))
            step *= 2
        if base == 1:
            return x
        blocks = xp.reshape(x, (*lead, size // self.order, base, power))
        signs = base_matrix(base)
        rows = []
        for row in signs:
            total = xp.zeros_like(blocks[..., 0, :])
            for k, sign in enumerate(row):
                term = blocks[..., k, :]
                total = total + term if sign > 0 else total - term
            rows.append(total)
        return xp.reshape(xp.stack(rows, axis=-2), (*lead, size))

    def work(self, inputs: Types, out: TensorType) -> Work:
        """Count one addition per element and butterfly stage, base - 1 for the base matrix."""
        (x,) = inputs
        base, power = split_order(self.order)
        stages = power.bit_length() - 1 + (base - 1)
        return Work(
            adds={out.dtype.bits: stages * x.size}, in_bits=x.size_bits, out_bits=out.size_bits
        )
