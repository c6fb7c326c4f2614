"""Divide by a group's scale: four stages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Quantize
from cosim.ops.quantize import RECIPROCAL_BITS, reciprocals
from rtl.numerics import Int, add, constant, mul, round_ends, round_half, saturate, shift_half
from rtl.ops.dequantize import parts_of_code
from rtl.ops.lanes import Lanes, Table, each, within
from rtl.pipe import Pipe


def wires(op: Quantize, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Look the reciprocal up, multiply, shift and round, saturate; a register after each."""
    x, codes = inputs
    codes = np.repeat(codes, op.group, axis=-1)[..., : x.shape[-1]]
    table = Table(np.array(reciprocals(op.mantissa_bits)))

    def exponent_of(code: Int) -> Int:
        return pipe.cut(parts_of_code(code, op.mantissa_bits)[0])

    def factor_of(code: Int) -> Int:
        _, mantissa = parts_of_code(code, op.mantissa_bits)
        if mantissa is None:
            return constant(1 << RECIPROCAL_BITS)
        return pipe.cut(table.entry(mantissa))

    def lane(x: Int, exponent: Int, factor: Int) -> Int:
        x, exponent, factor = pipe.align(pipe.cut(x), exponent, factor)
        product, exponent = pipe.cut(mul(x, factor)), pipe.cut(exponent)
        s = add(exponent, constant(RECIPROCAL_BITS + op.mantissa_bits))
        rounded = pipe.cut(round_half(shift_half(product, s), *round_ends(product, s)))
        return pipe.cut(within(saturate(rounded, op.dtype), out))

    # Once for all elements of a group.
    return each(lane, x, each(exponent_of, codes), each(factor_of, codes))
