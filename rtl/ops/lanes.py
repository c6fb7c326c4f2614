"""Hold what the operators in wires share: arrays of values, tables, trees.

An operator's file has one function, `wires(op, inputs, out, pipe)`. Its operands are arrays of
`Int` in the operator's shapes, or a `Table` where the operator looks something up; `out` is the
type that the graph inferred; `pipe` places the registers. All operands are at one stage, the result
is as many stages later as `cosim/design/kinds.py` says. A unit calls it with `lanes` elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pyrtl

from cosim.ir.errors import InternalError
from cosim.ir.types import TensorType, smallest_type
from rtl.numerics import Int, Wire, bounded, constant, round_ends, round_half, saturate, shift_half
from rtl.pipe import Pipe, latest

# An object array of Int.
Lanes: TypeAlias = np.ndarray


@dataclass(frozen=True)
class Table:
    """Hold integers to be looked up, one or a row of them at each place.

    With `page_at`, which gives a page's number at a stage, `values` has an axis of pages in front:
    one table for each layer. All look-ups share one memory.
    """

    values: np.ndarray
    page_at: Callable[[int], Wire] | None = None
    roms: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Return the number of places."""
        return int(self.values.shape[0 if self.page_at is None else 1])

    def entry(self, index: Int) -> Int:
        """Return the integer at an index, in the same stage; a register is to follow."""
        return self._column(index, self.values, 0)

    def row(self, index: Int) -> Lanes:
        """Return the row of integers at an index, in the same stage."""
        columns = self.values.shape[1]
        found = [self._column(index, self.values[:, k], k) for k in range(columns)]
        return lanes(found, (columns,))

    def _column(self, index: Int, values: np.ndarray, number: int) -> Int:
        pages = values[None] if self.page_at is None else values
        if index.lo < 0 or index.hi >= pages.shape[1]:
            raise InternalError(f"index {index.lo}..{index.hi} into a table of {pages.shape[1]}")
        used = pages[:, index.lo : index.hi + 1]
        lo, hi = int(used.min()), int(used.max())
        bits = smallest_type(lo, hi).bits
        if lo == hi:
            return replace(constant(lo), at=index.at)
        address = index.wire
        if self.page_at is not None:
            assert index.at is not None
            address = pyrtl.concat(self.page_at(index.at), address)
        key = (pyrtl.working_block(), number, index.lo, index.hi, len(address))
        if key not in self.roms:
            depth = 1 << index.bits
            words = np.zeros((len(pages), depth), object)
            kept = [[v & ((1 << bits) - 1) for v in row] for row in pages.tolist()]
            words[:, : index.hi + 1] = [row[: index.hi + 1] for row in kept]
            self.roms[key] = pyrtl.RomBlock(
                bits, len(address), words.reshape(-1).tolist(), "table", asynchronous=True,
                pad_with_zeros=True, max_read_ports=None,
            )  # fmt: skip
        data = pyrtl.WireVector(bits)
        data <<= self.roms[key][address]
        return Int(data, lo, hi, index.at)


Operand: TypeAlias = Lanes | Table


def array_of(operand: Operand) -> Lanes:
    """Return an operand that is an array of values."""
    if isinstance(operand, Table):
        raise InternalError("a table stands where an operator takes values")
    return operand


def table_of(operand: Operand) -> Table:
    """Return an operand that is a table."""
    if not isinstance(operand, Table):
        raise InternalError("values stand where an operator looks something up in a table")
    return operand


def lanes(values: Sequence[Int], shape: tuple[int, ...]) -> Lanes:
    """Arrange values in an array."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out.reshape(shape)


def each(how: Callable[..., Int], *operands: Lanes) -> Lanes:
    """Apply a function element by element, broadcasting; once where operands are the same."""
    wide = np.broadcast_arrays(*operands)
    made: dict[tuple[object, ...], Int] = {}
    flat = []
    for values in zip(*(w.reshape(-1) for w in wide), strict=True):
        key = tuple((id(x.wire), x.lo, x.hi, x.at) for x in values)
        if key not in made:
            made[key] = how(*values)
        flat.append(made[key])
    return lanes(flat, wide[0].shape)


def within(x: Int, out: TensorType) -> Int:
    """Narrow a result to the bounds that the graph has proved for it."""
    return bounded(x, max(x.lo, out.lo), min(x.hi, out.hi))


def tree(values: Sequence[Int], how: Callable[[Int, Int], Int], pipe: Pipe) -> Int:
    """Combine values two by two, with a register after each level; return the last one."""
    level = list(values)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        made = [pipe.cut(how(a, b)) for a, b in pairs]
        level = made + [pipe.cut(x) for x in level[len(made) * 2 :]]
    return level[0]


def rescaled(x: Int, s: Int, out: TensorType, pipe: Pipe) -> Int:
    """Shift, round and saturate, in three stages."""
    x, s = pipe.align(x, s)
    ends = round_ends(x, s)
    half = pipe.cut(shift_half(x, s))
    rounded = pipe.cut(round_half(half, *ends))
    return pipe.cut(within(saturate(rounded, out.dtype), out))


def stage_of_all(*operands: Lanes) -> int:
    """Return the stage of the operands; 0 where all are constants."""
    return latest([x for array in operands for x in array.reshape(-1)]) or 0
