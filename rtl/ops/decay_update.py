"""Update a decaying state with one rounding: five stages."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.ir.types import TensorType
from cosim.ops import DecayUpdate
from rtl.numerics import (
    Int,
    add,
    constant,
    mul,
    round_ends,
    round_half,
    saturate,
    shift_half,
    shift_left,
    sub,
)
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def wires(op: DecayUpdate, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Turn the decay round; two products; lift and add; round; saturate; a register after each."""

    h, k, *rest = inputs
    # Once for all elements that decay alike.
    keep = each(lambda k: pipe.cut(sub(constant(1 << op.decay_bits), k)), k)

    def lane(h: Int, keep: Int, u: Int, b: Int, lift: Int) -> Int:
        h, u, b, lift = (pipe.cut(x) for x in (h, u, b, lift))
        h, keep, u, b, lift = pipe.align(h, keep, u, b, lift)
        kept, added, lift = (pipe.cut(x) for x in (mul(h, keep), mul(u, b), lift))
        total = pipe.cut(add(kept, shift_left(added, lift)))
        ends = round_ends(total, op.decay_bits)
        rounded = pipe.cut(round_half(shift_half(total, op.decay_bits), *ends))
        return pipe.cut(within(saturate(rounded, op.dtype), out))

    return each(lane, h, keep, *rest)
