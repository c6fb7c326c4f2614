"""Multiply codes by their groups' scales: two stages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.ir.types import TensorType
from cosim.ops import Dequantize
from rtl.numerics import Int, add, bounded, constant, mul, pick, shift_floor, shift_left
from rtl.ops.lanes import Lanes, each, within
from rtl.pipe import Pipe


def parts_of_code(code: Int, mantissa_bits: int) -> tuple[Int, Int | None]:
    """Cut a scale code into exponent and mantissa; None where scales are powers of two."""
    if not mantissa_bits:
        return code, None
    exponent = shift_floor(code, mantissa_bits)
    top = min((1 << mantissa_bits) - 1, code.hi)
    low = pick(code.wire, range(min(mantissa_bits, code.bits)))
    return exponent, bounded(Int(low, 0, (1 << len(low)) - 1, code.at), 0, top)


def scaled(q: Int, code: Int, mantissa_bits: int, pipe: Pipe) -> Int:
    """Return q * S(code) in two stages: by the mantissa, then by the exponent."""
    exponent, mantissa = parts_of_code(code, mantissa_bits)
    if mantissa is not None:
        q = mul(q, add(mantissa, constant(1 << mantissa_bits)))
    return pipe.cut(shift_left(pipe.cut(q), pipe.cut(exponent)))


def wires(op: Dequantize, inputs: Sequence[Lanes], out: TensorType, pipe: Pipe) -> Lanes:
    """Multiply by the mantissa, register, shift by the exponent, register."""
    q, codes = inputs
    codes = np.repeat(codes, op.group, axis=-1)[..., : q.shape[-1]]

    def lane(q: Int, code: Int) -> Int:
        q, code = pipe.align(q, code)
        return within(scaled(q, code, op.mantissa_bits, pipe), out)

    return each(lane, q, codes)
