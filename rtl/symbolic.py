"""Run an operator's own integer meaning on symbols: arrays of z3 bit-vectors.

`cosim/ir/numerics.py` and the operators are written against an array namespace. Here is one whose
elements are bit-vectors of one width, wide enough for every intermediate (`Op.peak`), so that they
do not wrap. What a proof compares the wires with is thereby the meaning itself, not a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import z3


@dataclass(frozen=True)
class Width:
    """Stand where an array's dtype is asked for."""

    bits: int


class Symbols:
    """Hold an array of signed bit-vectors, or of truth values, of one width."""

    def __init__(self, data: np.ndarray, bits: int) -> None:
        """Take an object array of z3 terms."""
        self.data, self.bits = data, bits

    @classmethod
    def of(cls, values: Any, bits: int) -> Symbols:
        """Make symbols of integers."""
        array = np.array(values, dtype=object)
        return cls(_each(lambda v: z3.BitVecVal(int(v), bits), array), bits)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return self.data.ndim

    @property
    def dtype(self) -> Width:
        """Return the width."""
        return Width(self.bits)

    @property
    def device(self) -> None:
        """Say that there is none."""

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        """Return the functions of these arrays."""
        return Namespace()

    def _with(self, other: Any, how: Callable[[Any, Any], Any]) -> Symbols:
        right = other if isinstance(other, Symbols) else Symbols.of(other, self.bits)
        a, b = np.broadcast_arrays(self.data, right.data)
        out = np.empty(a.shape, dtype=object)
        for at in np.ndindex(a.shape):
            out[at] = how(a[at], b[at])
        return Symbols(out, self.bits)

    def __add__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __neg__(self) -> Symbols:
        return Symbols(_each(lambda a: -a, self.data), self.bits)

    def __lshift__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a << b)

    def __rlshift__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: b << a)

    def __rshift__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a >> b)

    def __and__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a & b)

    def __or__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a | b)

    def __lt__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Symbols:
        return self._with(other, lambda a, b: a >= b)

    def __eq__(self, other: object) -> Symbols:  # type: ignore[override]  # element by element, as arrays do
        return self._with(other, lambda a, b: a == b)

    __hash__ = None  # type: ignore[assignment]  # nor has an array a hash

    def __matmul__(self, other: Symbols) -> Symbols:
        rows = [[_total(self.data * c) for c in other.data.T]]
        return Symbols(np.array(rows[0], dtype=object), self.bits)

    def __getitem__(self, item: Any) -> Symbols:
        """Index by numbers; or look up symbols in a table of one axis."""
        if not isinstance(item, Symbols):
            return Symbols(np.array(self.data[item], dtype=object), self.bits)
        return Symbols(_each(lambda k: look_up(list(self.data), k), item.data), self.bits)


class Namespace:
    """Hold the functions that the meanings use; `device` is asked for and means nothing here."""

    __name__ = "symbols"

    @staticmethod
    def asarray(values: Sequence[int], dtype: Width, device: None) -> Symbols:  # noqa: ARG004
        return Symbols.of(values, dtype.bits)

    @staticmethod
    def iinfo(dtype: Width) -> Width:
        return dtype

    @staticmethod
    def astype(x: Symbols, dtype: Width) -> Symbols:
        one, zero = z3.BitVecVal(1, dtype.bits), z3.BitVecVal(0, dtype.bits)
        return Symbols(_each(lambda a: z3.If(a, one, zero), x.data), dtype.bits)

    @staticmethod
    def arange(size: int, dtype: Width, device: None) -> Symbols:  # noqa: ARG004
        return Symbols.of(np.arange(size), dtype.bits)

    @staticmethod
    def full(shape: tuple[int, ...], value: int, dtype: Width, device: None) -> Symbols:  # noqa: ARG004
        return Symbols.of(np.full(shape, value), dtype.bits)

    @staticmethod
    def remainder(x: Symbols, by: int) -> Symbols:
        return x._with(by, lambda a, b: a % b)

    @staticmethod
    def expand_dims(x: Symbols, axis: int) -> Symbols:
        return Symbols(np.expand_dims(x.data, axis), x.bits)

    @staticmethod
    def where(flag: Symbols, yes: Symbols | int, no: Symbols | int) -> Symbols:
        bits = next(v.bits for v in (yes, no) if isinstance(v, Symbols))
        yes, no = (v if isinstance(v, Symbols) else Symbols.of(v, bits) for v in (yes, no))
        flags, a, b = np.broadcast_arrays(flag.data, yes.data, no.data)
        out = np.empty(a.shape, dtype=object)
        for at in np.ndindex(a.shape):
            out[at] = z3.If(flags[at], a[at], b[at])
        return Symbols(out, yes.bits)

    @staticmethod
    def maximum(a: Symbols, b: Symbols) -> Symbols:
        return Namespace.where(a > b, a, b)

    @staticmethod
    def clip(x: Symbols, low: int, high: int | None) -> Symbols:
        kept = x if high is None else Namespace.where(x > high, high, x)
        return Namespace.where(x < low, low, kept)

    @staticmethod
    def abs(x: Symbols) -> Symbols:
        return Namespace.where(x < 0, -x, x)

    @staticmethod
    def full_like(x: Symbols, value: int) -> Symbols:
        return Symbols.of(np.full(x.shape, value), x.bits)

    @staticmethod
    def ones_like(x: Symbols) -> Symbols:
        return Namespace.full_like(x, 1)

    @staticmethod
    def zeros_like(x: Symbols) -> Symbols:
        return Namespace.full_like(x, 0)

    @staticmethod
    def zeros(shape: tuple[int, ...], dtype: Width, device: None) -> Symbols:  # noqa: ARG004
        return Symbols.of(np.zeros(shape, np.int64), dtype.bits)

    @staticmethod
    def sum(x: Symbols, axis: int, keepdims: bool = False) -> Symbols:
        return _fold(x, axis, keepdims, _total)

    @staticmethod
    def max(x: Symbols, axis: int, keepdims: bool = False) -> Symbols:
        return _fold(x, axis, keepdims, _largest)

    @staticmethod
    def min(x: Symbols, axis: int, keepdims: bool = False) -> Symbols:
        return -_fold(-x, axis, keepdims, _largest)

    @staticmethod
    def cumulative_sum(x: Symbols, axis: int) -> Symbols:
        return Symbols(np.add.accumulate(x.data, axis=axis, dtype=object), x.bits)

    @staticmethod
    def reshape(x: Symbols, shape: tuple[int, ...]) -> Symbols:
        return Symbols(x.data.reshape(shape), x.bits)

    @staticmethod
    def permute_dims(x: Symbols, axes: tuple[int, ...]) -> Symbols:
        return Symbols(x.data.transpose(axes), x.bits)

    @staticmethod
    def moveaxis(x: Symbols, source: int, to: int) -> Symbols:
        return Symbols(np.moveaxis(x.data, source, to), x.bits)

    @staticmethod
    def repeat(x: Symbols, times: int, axis: int) -> Symbols:
        return Symbols(np.repeat(x.data, times, axis=axis), x.bits)

    @staticmethod
    def concat(parts: Sequence[Symbols], axis: int) -> Symbols:
        return Symbols(np.concatenate([p.data for p in parts], axis=axis), parts[0].bits)

    @staticmethod
    def stack(parts: Sequence[Symbols], axis: int) -> Symbols:
        return Symbols(np.stack([p.data for p in parts], axis=axis), parts[0].bits)


def look_up(table: Sequence[Any], index: Any) -> Any:
    """Return the entry of a table at a bit-vector; past its end, the last entry."""
    found = table[-1]
    for k in reversed(range(len(table) - 1)):
        found = z3.If(index == k, table[k], found)
    return found


def _each(how: Callable[[Any], Any], array: np.ndarray) -> np.ndarray:
    out = np.empty(array.shape, dtype=object)
    for at in np.ndindex(array.shape):
        out[at] = how(array[at])
    return out


def _fold(x: Symbols, axis: int, keepdims: bool, how: Callable[[Sequence[Any]], Any]) -> Symbols:
    last = np.moveaxis(x.data, axis, -1)
    out = np.empty(last.shape[:-1], dtype=object)
    for at in np.ndindex(out.shape):
        out[at] = how(list(last[at]))
    return Symbols(np.expand_dims(out, axis) if keepdims else out, x.bits)


def _total(terms: Sequence[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _largest(terms: Sequence[Any]) -> Any:
    top = terms[0]
    for term in terms[1:]:
        top = z3.If(term > top, term, top)
    return top
