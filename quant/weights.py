"""Turn weight matrices into codes and integer scales.

Glossary:
    W [R, K]  real weights;  codes [R, K] integers of `bits` bits
    m [R, G]  integer multiplier of each row and group of `group` columns (last one may be short)
    e [R]     exponent of the row, so that W ~ codes * m * 2^-e
Scale kinds: "pot" (m a power of two), "two_term" (m a sum of two powers of two), "integer" (any m
up to 255), "two_shift" (m = 2^a + 2^b with a and b of 0..7 and e = 10 for all rows: as LightMamba's
release stores its weights, which therefore have no scale finer than 2^-9). Scales are rounded up,
so that no weight is clipped; with `search_clip` a smaller scale is taken for a group where its
squared error is less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cosim.ir.errors import InternalError, UserError
from cosim.ir.types import IntType, i, smallest_type

ScaleKind = Literal["pot", "two_term", "integer", "two_shift"]
MULTIPLIER_BITS = 8
# PKU-SEC-Lab/LightMamba: two shifts of 3 bits (DW_WSCALE), weights with 10 fraction bits.
TWO_SHIFT_EXPONENT = 10
CLIPS = (0.995, *(c / 20 for c in range(19, 4, -1)))
# All smaller weights are as good as zero; also keeps the scale of a row of zeros finite.
LEAST_PEAK = 1e-12


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
    """Hold a quantised matrix, or only its sizes where there are no weights; codes are int8."""

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
        if self.multipliers is None or self.format.scale == "two_shift":
            return smallest_type(0, int(_multipliers(self.format.scale)[-1]))
        return smallest_type(0, int(self.multipliers.max()))

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
    full = _full_scales(blocks, fmt.bits)
    multipliers, exponents = integer_scales(full, fmt.scale)
    lsb = np.exp2(-exponents.astype(np.float64))[:, None]
    codes = _round(blocks, multipliers * lsb, fmt.bits)
    if fmt.search_clip:
        least = _squared_error(blocks, codes, multipliers * lsb)
        for clip in CLIPS:
            tried = _round_up(full * clip / lsb, fmt.scale)
            found = _round(blocks, tried * lsb, fmt.bits)
            error = _squared_error(blocks, found, tried * lsb)
            better = error < least
            least = np.where(better, error, least)
            multipliers = np.where(better, tried, multipliers)
            codes = np.where(better[..., None], found, codes)
    codes = codes.reshape(rows, -1)[:, :k].astype(np.int8)
    return IntWeight(fmt, (rows, k), codes, multipliers, exponents)


def integer_scales(scale: np.ndarray, kind: ScaleKind) -> tuple[np.ndarray, np.ndarray]:
    """Round positive scales [R, G] up to m * 2^-e with m of 8 bits, so that nothing clips.

    Return (m [R, G], e [R]).

    >>> m, e = integer_scales(np.array([[0.75, 0.125]]), "integer")
    >>> (m * 2.0 ** -e[:, None]).tolist()
    [[0.75, 0.125]]
    >>> integer_scales(np.array([[0.7, 0.1]]), "pot")[0].tolist()
    [[128, 16]]
    """
    most = _multipliers(kind)[-1]
    exponents = np.floor(np.log2(most / scale.max(axis=1))).astype(np.int64)
    if kind == "two_shift":
        exponents = np.full_like(exponents, TWO_SHIFT_EXPONENT)
    return _round_up(scale * np.exp2(exponents)[:, None], kind), exponents


def _round_up(ideal: np.ndarray, kind: ScaleKind) -> np.ndarray:
    """Return the smallest allowed multipliers that are not below `ideal` (but for its rounding)."""
    allowed = _multipliers(kind)
    place = np.searchsorted(allowed, ideal * (1 - 1e-12))
    return allowed[np.minimum(place, len(allowed) - 1)]


def _multipliers(kind: ScaleKind) -> np.ndarray:
    top = 1 << MULTIPLIER_BITS
    powers = {1 << a for a in range(MULTIPLIER_BITS)}
    if kind == "pot":
        return np.array(sorted(powers), dtype=np.int64)
    if kind == "two_shift":
        return np.array(sorted({a + b for a in powers for b in powers}), dtype=np.int64)
    if kind == "two_term":
        sums = {a + b for a in powers for b in powers if a + b < top}
        return np.array(sorted(powers | sums), dtype=np.int64)
    return np.arange(1, top, dtype=np.int64)


def _full_scales(blocks: np.ndarray, bits: int) -> np.ndarray:
    """Return the scales [R, G] at which the largest element of each group has the largest code."""
    full = np.maximum(np.abs(blocks).max(axis=-1), LEAST_PEAK) / ((1 << (bits - 1)) - 1)
    # Multipliers span 8 bits: the small groups of a row of unlike groups get the smallest one.
    return np.maximum(full, full.max(axis=1, keepdims=True) / (1 << (MULTIPLIER_BITS - 1)))


def _round(blocks: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    hi = (1 << (bits - 1)) - 1
    return np.clip(np.floor(blocks / scale[..., None] + 0.5), -hi - 1, hi)


def _squared_error(blocks: np.ndarray, codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return ((codes * scale[..., None] - blocks) ** 2).sum(axis=-1)
