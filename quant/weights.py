"""Turn weight matrices into codes and integer scales.

Glossary:
    W [R, K]  real weights;  codes [R, K] integers of `bits` bits
    m [R, G]  integer multiplier of each row and group of `group` columns (last one may be short)
    e [R]     exponent of the row, so that W ~ codes * m * 2^-e
Scale kinds: "pot" (m a power of two), "two_term" (m a sum of two powers of two, as LightMamba
uses), "integer" (any m up to 255). Each group's clip is searched for the least squared error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cosim.ir.errors import InternalError, UserError
from cosim.ir.types import IntType, i, smallest_type

ScaleKind = Literal["pot", "two_term", "integer"]
MULTIPLIER_BITS = 8
CLIPS = tuple(c / 20 for c in range(20, 9, -1))


@dataclass(frozen=True)
class WeightFormat:
    """Say how a matrix is stored: code width, group (0: one per row), scale kind."""

    bits: int
    group: int = 0
    scale: ScaleKind = "integer"
    search_clip: bool = True

    def __post_init__(self) -> None:
        """Refuse formats that no unit multiplies."""
        if self.bits not in (2, 3, 4, 5, 6, 7, 8) or self.group < 0:
            raise UserError(
                f"weights of {self.bits} bits in groups of {self.group}: choose 2 to 8 bits and a "
                "group of 0 (per row) or more columns"
            )


@dataclass(frozen=True)
class IntWeight:
    """Hold a quantised matrix, or only its sizes where there are no weights."""

    format: WeightFormat
    shape: tuple[int, int]
    codes: np.ndarray | None = None
    multipliers: np.ndarray | None = None
    exponents: np.ndarray | None = None

    @property
    def group(self) -> int:
        """Return the number of columns that share a multiplier."""
        return self.format.group or self.shape[1]

    @property
    def group_count(self) -> int:
        """Return the number of groups per row."""
        return -(-self.shape[1] // self.group)

    @property
    def code_type(self) -> IntType:
        """Return the type of the codes."""
        return i(self.format.bits)

    @property
    def multiplier_type(self) -> IntType:
        """Return the type of the multipliers."""
        hi = (1 << MULTIPLIER_BITS) - 1 if self.multipliers is None else int(self.multipliers.max())
        return smallest_type(0, hi)

    def real(self) -> Tensor:
        """Return the matrix that the integers stand for, [R, K] float32."""
        if self.codes is None:
            raise InternalError("a matrix without codes has no real values")
        return torch.from_numpy(self.codes * self._scales()).float()

    def scales(self) -> Tensor:
        """Return the real scale of every element, [R, K] float32."""
        return torch.from_numpy(self._scales()).float()

    def _scales(self) -> np.ndarray:
        if self.multipliers is None or self.exponents is None:
            raise InternalError("a matrix without multipliers has no scales")
        wide = np.repeat(self.multipliers, self.group, axis=1)[:, : self.shape[1]]
        return wide * np.exp2(-self.exponents.astype(np.float64))[:, None]


def quantise_matrix(weight: Tensor, fmt: WeightFormat) -> IntWeight:
    """Choose scales and round to nearest; weight [R, K] float."""
    w = weight.detach().double().numpy()
    rows, k = w.shape
    group = fmt.group or k
    count = -(-k // group)
    padded = np.zeros((rows, count * group))
    padded[:, :k] = w
    blocks = padded.reshape(rows, count, group)
    scale = _ideal_scales(blocks, fmt)
    multipliers, exponents = integer_scales(scale, fmt.scale)
    exact = multipliers * np.exp2(-exponents.astype(np.float64))[:, None]
    codes = _round(blocks, exact, fmt.bits).reshape(rows, -1)[:, :k]
    return IntWeight(fmt, (rows, k), codes.astype(np.int64), multipliers, exponents)


def integer_scales(scale: np.ndarray, kind: ScaleKind) -> tuple[np.ndarray, np.ndarray]:
    """Approximate positive scales [R, G] by m * 2^-e with m of 8 bits; return (m, e).

    >>> m, e = integer_scales(np.array([[0.75, 0.125]]), "integer")
    >>> (m * 2.0 ** -e[:, None]).tolist()
    [[0.75, 0.125]]
    >>> integer_scales(np.array([[0.7, 0.1]]), "pot")[0].tolist()
    [[128, 16]]
    """
    top = scale.max(axis=1)
    exponents = (MULTIPLIER_BITS - 1 - np.floor(np.log2(top))).astype(np.int64)
    ideal = scale * np.exp2(exponents)[:, None]
    allowed = _multipliers(kind)
    if kind == "pot":  # nearest in the logarithm: a scale's error is relative
        pick = np.abs(np.log2(np.maximum(ideal, 0.5))[..., None] - np.log2(allowed)).argmin(axis=-1)
    else:
        pick = np.abs(ideal[..., None] - allowed).argmin(axis=-1)
    return allowed[pick], exponents


def _multipliers(kind: ScaleKind) -> np.ndarray:
    top = 1 << MULTIPLIER_BITS
    powers = {1 << a for a in range(MULTIPLIER_BITS)}
    if kind == "pot":
        return np.array(sorted(powers), dtype=np.int64)
    if kind == "two_term":
        sums = {a + b for a in powers for b in powers if a + b < top}
        return np.array(sorted(powers | sums), dtype=np.int64)
    return np.arange(1, top, dtype=np.int64)


def _ideal_scales(blocks: np.ndarray, fmt: WeightFormat) -> np.ndarray:
    qmax = (1 << (fmt.bits - 1)) - 1
    full = np.maximum(np.abs(blocks).max(axis=-1), 1e-12) / qmax
    # A row whose groups differ by more than the multiplier's range keeps its small groups exact
    # to the smallest multiplier only; that bounds the spread.
    full = np.maximum(full, full.max(axis=1, keepdims=True) / (1 << (MULTIPLIER_BITS - 1)))
    if not fmt.search_clip:
        return full
    best, least = full, np.full(full.shape, np.inf)
    for clip in CLIPS:
        scale = full * clip
        error = ((_round(blocks, scale, fmt.bits) * scale[..., None] - blocks) ** 2).sum(axis=-1)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)
    return best


def _round(blocks: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    hi = (1 << (bits - 1)) - 1
    return np.clip(np.floor(blocks / scale[..., None] + 0.5), -hi - 1, hi)
