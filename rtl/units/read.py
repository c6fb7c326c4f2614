"""Read a matrix state out through its second quantiser: `group_read` row by row.

A row takes elements of one column each, at one place n of the axis that is summed over. When the
last place of a group comes in, the group's elements, kept until then, go through the quantiser side
by side; what they add to each column's sum is kept until its next group comes.

Glossary:
    group   neighbours on the axis that is summed over, which share a shift; the last may be short
    block   `lanes` neighbouring columns; `blocks` rows have the same place
    sums    the columns' sums so far, a word for each block
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyrtl

from cosim.design.sketch import SketchNode
from cosim.ir.errors import UserError
from cosim.ir.types import TensorType
from cosim.ops import GroupRead
from rtl.numerics import Int, add, bounded, constant, of_bits, select, to_bits
from rtl.ops import group_read
from rtl.ops.lanes import Lanes, lanes
from rtl.pipe import latest

if TYPE_CHECKING:
    from rtl.units.chain import Chain


def read_out(chain: Chain, node: SketchNode) -> tuple[Lanes, np.ndarray]:
    """Return the columns' sums, a stage for the last level and the kept sum, and where they come.

    The array is [rows, lanes]: the result that is complete, or -1. Raise UserError for lanes that
    do not divide the columns, or hold no group.
    """
    op = chain.variant(node)
    assert isinstance(op, GroupRead)
    places, columns = chain.sketch.types[node.inputs[0]].shape[-2:]
    own, wide = chain.own, chain.own.lanes
    in_order = np.array_equal(chain.stream.order, np.arange(chain.job.task.span))
    if columns % wide or wide < min(op.group, places) or not in_order:
        raise UserError(
            f"unit {chain.plan.unit.name}: {wide} lanes for a read-out of {columns} columns in "
            f"groups of {op.group}; choose at least {op.group} lanes that divide {columns}"
        )
    there = own.stepped[:, 0] >= 0
    place = np.where(there, own.stepped[:, 0] // columns % places, 0)
    closes = there & ((place % op.group == op.group - 1) | (place == places - 1))
    size = place % op.group + 1
    terms = _terms(chain, node, op, closes, size)
    rows = _Rows(there, closes, closes & (place < op.group))
    out = chain.type_in_lanes(node.name, wide)
    results = np.where((closes & (place == places - 1))[:, None], _results(own.stepped, places,
                       columns), -1)  # fmt: skip
    return _summed(chain, terms, rows, columns // wide, out), results


class _Rows:
    """Tell rows apart: those that take a step, that close a group, that close a column's first."""

    def __init__(self, steps: np.ndarray, closes: np.ndarray, first: np.ndarray) -> None:
        self.steps, self.closes, self.first = steps, closes, first


def _results(stepped: np.ndarray, places: int, columns: int) -> np.ndarray:
    return stepped // (places * columns) * columns + stepped % columns


def _terms(
    chain: Chain, node: SketchNode, op: GroupRead, closes: np.ndarray, size: np.ndarray
) -> Lanes:
    """Return the products of the group that a row closes [lanes, group], the latest place first."""
    most = int(size[closes].max())
    columns = chain.sketch.types[node.inputs[0]].shape[-1]
    back = []
    for k in range(most):
        used = closes & (size > k)
        elements = np.where(used[:, None], chain.own.stepped - k * columns, -1)
        back.append([
            chain.operand(name, chain.mapped(node, j, elements))
            for j, name in enumerate(node.inputs)
        ])  # fmt: skip
    at = latest([x for three in back for values in three for x in values]) or 0
    for k, three in enumerate(back):
        if np.any(closes & (size <= k)):
            # A group that is short lacks this place: 0 adds nothing, and is never the largest.
            flag = chain.walk.by_row((size > k).astype(int), closes, at)
            held = [chain.pipe.until(x, at) for x in three[0]]
            three[0] = lanes([select(flag.wire, x, constant(0)) for x in held], (len(held),))
    h, c, t = (
        lanes(
            [chain.pipe.until(x, at) for three in back for x in three[j]], (most, chain.own.lanes)
        )
        for j in range(3)
    )
    return group_read.terms(op, [h, c, t], chain.pipe)


def _summed(chain: Chain, terms: Lanes, rows: _Rows, blocks: int, out: TensorType) -> Lanes:
    """Add each lane's terms up in a tree; the sum so far joins in its last level."""
    pipe, walk = chain.pipe, chain.walk
    level = [list(own) for own in terms]
    while len(level[0]) > 2:
        level = [
            [
                pipe.cut(add(*pair)) if len(pair) == 2 else pipe.cut(pair[0])
                for pair in (own[n : n + 2] for n in range(0, len(own), 2))
            ]
            for own in level
        ]
    at = latest([x for own in level for x in own]) or 0
    level = [[pipe.until(x, at) for x in own] for own in level]
    number = (np.cumsum(rows.steps) - 1) % blocks
    block = walk.by_row(number, rows.closes, at)
    first = walk.by_row(rows.first.astype(int), rows.closes, at)
    closes = walk.by_row(rows.closes.astype(int), None, at)
    bits, size = out.dtype.bits, max(1, (blocks - 1).bit_length())
    sums = pyrtl.MemBlock(bits * len(level), size, "sums", asynchronous=True)
    address = block.wire if block.bits == size else pyrtl.Const(block.lo, size)
    read = sums[address]
    found: list[Int] = []
    for lane, own in enumerate(level):
        kept = of_bits(read[lane * bits : (lane + 1) * bits], _kept(out), at)
        before = select(first.wire, constant(0), kept) if first.hi else kept
        total = add(add(*own) if len(own) == 2 else own[0], before)
        found.append(bounded(total, min(out.lo, 0), max(out.hi, 0)))
    word = pyrtl.concat_list([to_bits(x, out.dtype) for x in found])
    enable = walk.fire(at) if closes.lo == 1 else walk.fire(at) & closes.wire
    sums[address] <<= pyrtl.MemBlock.EnabledWrite(word, enable)
    return lanes([pipe.cut(x) for x in found], (len(found),))


def _kept(out: TensorType) -> TensorType:
    """Return the type of a sum so far: part of a sum may be 0."""
    return TensorType(out.dtype, (), min(out.lo, 0), max(out.hi, 0))
