"""Count the products of a unit in wires, each with the widths of its operands, and their DSPs.

Where a product's operand is wider than a DSP's port, it is cut into pieces of 17 bits and a sign,
and each pair of pieces takes a DSP: so does yosys (its mul2dsp), and so do the maker's tools. They
part over small products: yosys makes those whose result has 8 bits or less of LUTs, and puts one
into a DSP; the maker documents two of 8 bits with a shared operand, or four of 4 bits (AMD WP486,
WP521), which a matrix unit has and a chain has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cosim.design.kinds import tree_stages
from cosim.design.plan import Unit
from cosim.design.sketch import Sketch, SketchNode
from cosim.ir.types import TensorType, smallest_type
from cosim.machine.board import Family
from cosim.ops import (
    Attend,
    DecayUpdate,
    Divide,
    GroupScale,
    Linear,
    Pwl,
    PwlLog,
    Quantize,
    RmsTable,
)
from cosim.ops.attend import WEIGHT_BITS
from cosim.ops.divide import M_BITS as RECIPROCAL
from cosim.ops.divide import SUM_BITS
from cosim.ops.group_scale import RATIO_BITS, code_bounds
from cosim.ops.quantize import RECIPROCAL_BITS
from cosim.ops.rms_norm import M_BITS, SEGMENT_BITS, SIZE_BITS

# The signed ports of a multiplier: AMD UG479 (DSP48E1), UG579 (DSP48E2), AM004 (DSP58).
PORTS: Mapping[Family, tuple[int, int]] = {
    "7series": (25, 18),
    "ultrascale+": (27, 18),
    "versal": (27, 24),
    "asic": (27, 18),  # assumed: a multiplier like that of the boards
}
PIECE_BITS = 17
TABLE_BITS = M_BITS + 1  # a root of a mantissa, signed
# yosys makes narrower products of LUTs (DSP_Y_MINWIDTH of its synth_xilinx).
LEAST_DSP_BITS = 9


@dataclass(frozen=True)
class Products:
    """Hold so many products of signed operands of `a` and `b` bits."""

    count: int
    a: int
    b: int

    def dsps(self, family: Family) -> int:
        """Return the DSPs of all of them."""
        if self.a + self.b < LEAST_DSP_BITS:
            return 0
        return self.count * dsps_of(self.a, self.b, family)


def dsps_of(a: int, b: int, family: Family) -> int:
    """Return the DSPs of a product of signed operands.

    >>> dsps_of(16, 18, "ultrascale+"), dsps_of(24, 24, "ultrascale+"), dsps_of(24, 24, "versal")
    (1, 2, 1)
    """
    wide, narrow = PORTS[family]
    a, b = max(a, b), min(a, b)
    pieces = [1 if x <= port else -(-(x - 1) // PIECE_BITS) for x, port in ((a, wide), (b, narrow))]
    return pieces[0] * pieces[1]


def of_node(sketch: Sketch, node: SketchNode, lanes: int) -> list[Products]:
    """Return the products of an operator in so many lanes; not of a linear layer."""
    op, types = node.op, [sketch.types[n] for n in node.inputs]
    if op.name in {"mul", "mul_shift", "rescale", "contract", "leak"}:
        return [Products(lanes, _signed(types[0]), _signed(types[1]))]
    if isinstance(op, DecayUpdate):
        h, _, u, b, _ = (_signed(t) for t in types)
        return [Products(lanes, h, op.decay_bits + 2), Products(lanes, u, b)]
    if op.name == "shift_decay":
        return [Products(lanes, _signed(types[0]), _signed(types[1]))]
    if isinstance(op, Pwl | PwlLog):
        # What is multiplied is the distance from a segment's start.
        x = _signed(types[0])
        offset = op.log2_width + 1 if isinstance(op, Pwl) else x - op.mantissa_bits
        return [Products(lanes, _signed(types[2]), max(offset, 1))]
    if isinstance(op, Quantize) and op.mantissa_bits:
        return [Products(lanes, _signed(types[0]), 1 + RECIPROCAL_BITS + 1)]
    if isinstance(op, GroupScale):
        return [Products(max(1, lanes // op.group), _signed(types[0]), RATIO_BITS)]
    if isinstance(op, Attend):
        q, keys, values, _, scale, *rest = types
        share = q.shape[0] // keys.shape[1]
        score = (q.shape[-1] * q.peak * keys.peak).bit_length() + 1
        found = [
            Products(lanes, _signed(q), _signed(keys)), Products(share, score, _signed(scale)),
            Products(lanes, WEIGHT_BITS + 1, _signed(values)),
        ]  # fmt: skip
        places = keys.shape[0].bit_length() + 1
        return [*found, Products(share, _signed(rest[1]), places)] if op.alibi else found
    if isinstance(op, Divide):
        cut = min(types[0].peak, op.most << SUM_BITS).bit_length() + 1
        return [Products(lanes, cut, RECIPROCAL + 2), Products(1, RECIPROCAL, SEGMENT_BITS + 1)]
    if op.name in {"fir", "shift_fir"}:
        taps = types[0].shape[0]
        return [Products(lanes * taps, _signed(types[0]), _signed(types[1]))]
    if op.name == "rms_norm":
        # The root of the size, as the operator has it; the sum of squares' is a table's.
        x, size = _signed(types[0]), SIZE_BITS + types[0].shape[-1].bit_length() // 2 + 1
        return [
            Products(lanes, x, x), Products(lanes, x, size + TABLE_BITS),
            Products(1, size, TABLE_BITS), Products(1, TABLE_BITS, SEGMENT_BITS + 1),
        ]  # fmt: skip
    if isinstance(op, RmsTable):
        x, root = _signed(types[0]), types[1].hi.bit_length() + max(op.lifts) + 1
        normal = max(x + root - 1 - op.root_shift, 1)
        return [
            Products(lanes, x, x), Products(lanes, x, root),
            Products(lanes, normal, _signed(types[2])),
        ]  # fmt: skip
    return []


def of_linear(
    layers: Sequence[tuple[Linear, Sequence[TensorType]]], unit: Unit
) -> tuple[Products, list[Products], int]:
    """Return a matrix unit's products of weights, those by scales, and the scaled sums of a row.

    `layers` are operators with their operands' types: q, W, m and, with dynamic scales, c.
    """
    block = block_of(layers, unit.columns)
    weight = max(_signed(t[1]) for _, t in layers)
    act = max(_signed(t[0]) for _, t in layers)
    blocks = -(-unit.columns // block)
    columns = min(block, unit.columns)
    most = max(max(-t[1].lo, t[1].hi) * max(-t[0].lo, t[0].hi) for _, t in layers) * columns
    scale = max(
        t[2].hi * (code_bounds(t[3], op.mantissa_bits)[1] if op.act_group else 1)
        for op, t in layers
    )
    found = [Products(unit.lanes * blocks, most.bit_length() + 1, scale.bit_length() + 1)]
    mantissa = max((op.mantissa_bits for op, _ in layers if op.act_group), default=0)
    if mantissa:
        m = max(_signed(t[2]) for _, t in layers)
        found.append(Products(unit.lanes * blocks, m, mantissa + 2))
    return Products(unit.lanes * unit.columns, weight, act), found, blocks


def block_of(layers: Sequence[tuple[Linear, Sequence[TensorType]]], columns: int) -> int:
    """Return the columns that share both scales in every step: a power of two."""
    size = 1 << tree_stages(columns)
    cuts = {
        cut % columns
        for op, types in layers
        for group in (op.weight_group, op.act_group) if group
        for cut in range(group, types[1].shape[1], group)
    }  # fmt: skip
    while any(cut % size for cut in cuts):
        size //= 2
    return size


def _signed(type_: TensorType) -> int:
    """Return the bits of a signed operand that holds a value's bounds."""
    return smallest_type(min(type_.lo, -1), type_.hi).bits
