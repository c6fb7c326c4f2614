"""Emit integer nodes while keeping track of where each value's binary point is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.ir.errors import InternalError
from cosim.ir.graph import GraphBuilder
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType, smallest_type
from cosim.ops import Add, Concat, Mul, Requant, Reshape, Slice
from quant.tables import Table

FRAC_LIMIT = 40


@dataclass(frozen=True)
class Fx:
    """Name a fixed-point value: real = integer * 2^-frac, frac broadcast over its last axes."""

    name: str
    frac: np.ndarray

    @property
    def uniform(self) -> int:
        """Return the one number of fraction bits of all elements."""
        values = np.unique(self.frac)
        if values.size != 1:
            raise InternalError(f"{self.name} has {values.size} binary points, not one")
        return int(values[0])


def frac_for(absmax: np.ndarray, dtype: IntType, headroom: float) -> np.ndarray:
    """Return the most fraction bits with which absmax * headroom fits the type.

    Of nothing but zeros any would do: they get those of 1, so that what follows has usual widths.

    >>> frac_for(np.array([1.0, 0.9, 100.0]), IntType(8, True), 1.0).tolist()
    [6, 7, 0]
    """
    real = np.asarray(absmax, dtype=np.float64)
    top = np.maximum((real if real.any() else real + 1.0) * headroom, 1e-9)
    frac = np.floor(np.log2(dtype.hi / top)).astype(np.int64)
    return np.clip(frac, -FRAC_LIMIT, FRAC_LIMIT)


class Emitter:
    """Wrap a graph builder; `has_weights` False declares constants by type only."""

    def __init__(self, name: str, has_weights: bool) -> None:
        """Start an empty graph."""
        self.builder = GraphBuilder(name)
        self.has_weights = has_weights
        self._shared: dict[tuple[int, ...] | str, str] = {}

    def type(self, value: Fx) -> TensorType:
        """Return the type of a value."""
        return self.builder.types[value.name]

    def const(
        self, name: str, data: np.ndarray | None, shape: tuple[int, ...], dtype: IntType
    ) -> str:
        """Declare a constant; without weights its data may be None."""
        if data is None or not self.has_weights:
            return self.builder.const(name, TensorType.full(dtype, shape))
        return self.builder.const(name, data.reshape(shape), dtype)

    def small(self, name: str, data: np.ndarray) -> str:
        """Declare a constant of the narrowest type, such as shifts."""
        data = np.asarray(data, dtype=np.int64)
        dtype = smallest_type(int(data.min()), int(data.max()))
        return self.builder.const(name, data, dtype)

    def node(self, name: str, op: Op, inputs: list[str], frac: np.ndarray | int) -> Fx:
        """Add a node and annotate its scale where it has one binary point."""
        frac = np.asarray(frac, dtype=np.int64)
        values = np.unique(frac)
        scale = float(2.0 ** -float(values[0])) if values.size == 1 else None
        self.builder.add(name, op, *inputs, scale=scale)
        return Fx(name, frac)

    def shift(self, name: str, shift: np.ndarray | int, rank: int) -> str:
        """Declare shift constants, broadcast from the last axis up to `rank` axes."""
        data = np.asarray(shift, dtype=np.int64)
        if np.unique(data).size == 1:
            data = data.reshape(-1)[:1]
        data = data.reshape((1,) * (rank - data.ndim) + data.shape)
        return self.small(f"{name}.shift", data)

    def requant(self, name: str, x: Fx, dtype: IntType, frac: np.ndarray | int) -> Fx:
        """Move the binary point to `frac`, saturating in dtype.

        A node is emitted even where the shift is zero, so that a graph's structure depends on
        its config and recipe alone, never on calibrated ranges.
        """
        frac = np.asarray(frac, dtype=np.int64)
        rank = len(self.type(x).shape)
        shift = self.shift(name, x.frac - frac, rank)
        return self.node(name, Requant(dtype), [x.name, shift], frac)

    def slice(self, name: str, x: Fx, start: int, stop: int) -> Fx:
        """Take a range of the last axis."""
        frac = x.frac[..., start:stop] if x.frac.ndim and x.frac.shape[-1] > 1 else x.frac
        return self.node(name, Slice(start, stop), [x.name], frac)

    def reshape(self, name: str, x: Fx, target: tuple[int, ...]) -> Fx:
        """Reshape a value and its binary points."""
        source = self.type(x).shape
        frac = x.frac
        if np.unique(frac).size == 1:
            frac = np.asarray(frac.reshape(-1)[0])
        else:
            frac = np.broadcast_to(frac, source).reshape(target)
        return self.node(name, Reshape(source, target), [x.name], frac)

    def concat(self, name: str, parts: list[Fx]) -> Fx:
        """Join along the last axis; all parts must share one binary point."""
        return self.node(name, Concat(), [p.name for p in parts], parts[0].uniform)

    def add(self, name: str, a: Fx, b: Fx, dtype: IntType) -> Fx:
        """Add two values whose binary points agree."""
        if not np.all(a.frac == b.frac):
            raise InternalError(f"{name}: {a} and {b} have different binary points")
        frac = a.frac if a.frac.ndim >= b.frac.ndim else b.frac
        return self.node(name, Add(dtype), [a.name, b.name], frac)

    def mul(self, name: str, a: Fx, b: Fx, dtype: IntType, frac: np.ndarray | int) -> Fx:
        """Multiply and move the binary point to `frac`."""
        frac = np.asarray(frac, dtype=np.int64)
        rank = len(self.type(a).shape)
        shift = self.shift(name, a.frac + b.frac - frac, rank)
        return self.node(name, Mul(dtype), [a.name, b.name, shift], frac)

    def fixed(
        self,
        name: str,
        data: np.ndarray | None,
        shape: tuple[int, ...],
        dtype: IntType,
        frac: np.ndarray | int,
    ) -> Fx:
        """Declare a real constant in fixed point, rounded half up and saturated."""
        frac = np.asarray(frac, dtype=np.int64)
        codes = None
        if data is not None:
            scaled = np.asarray(data, dtype=np.float64).reshape(shape) * np.exp2(
                frac.astype(np.float64)
            )
            codes = np.clip(np.floor(scaled + 0.5), dtype.lo, dtype.hi).astype(np.int64)
        return Fx(self.const(name, codes, shape, dtype), frac)

    def table(self, name: str, x: Fx, table: Table, out_frac: int) -> Fx:
        """Apply a piecewise-linear table; tables of equal content are declared once."""
        key = f"{table.base.tobytes()!r}{table.slope.tobytes()!r}"
        if key not in self._shared:
            first = f"table.{len(self._shared)}"
            self.small(f"{first}.base", table.base)
            self.small(f"{first}.slope", table.slope)
            self._shared[key] = first
        shared = self._shared[key]
        inputs = [x.name, f"{shared}.base", f"{shared}.slope"]
        return self.node(name, table.op, inputs, out_frac)
