"""List small instances of every operator: odd sizes, both signs, each switch."""

import numpy as np

from cosim.ir.types import TensorType, i, u
from cosim.ops import (
    Add,
    Argmax,
    Center,
    Clip,
    Concat,
    Contract,
    DecayUpdate,
    Dequantize,
    Embed,
    Fir,
    GroupRead,
    GroupScale,
    GroupShift,
    Hadamard,
    Linear,
    Mul,
    MulShift,
    Push,
    Pwl,
    PwlLog,
    Quantize,
    Requant,
    Rescale,
    Reshape,
    RmsNorm,
    RmsTable,
    ShiftDecay,
    ShiftFir,
    Slice,
    Spread,
    StepTable,
    Transpose,
    Truncate,
)


def full(dtype, *shape):
    return TensorType.full(dtype, shape)


def whole(dtype, lo, hi, *shape):
    return TensorType(dtype, shape, lo, hi)


def drawn(seed, t):
    return np.random.default_rng(seed).integers(t.lo, t.hi, t.shape, endpoint=True)


def case(op, *types, fixed=()):
    """Make a case; operands at the places `fixed` are constants drawn in their types."""
    return op, types, {k: drawn(k, types[k]) for k in fixed}


# Elementwise, with operands so narrow that every input can be tried: shapes of one element.
NARROW = [
    case(Add(i(4)), full(i(5)), full(i(4))),
    case(Add(u(3)), full(i(4)), full(u(4))),
    case(Clip(-3, 5), full(i(5))),
    case(Clip(0, 0), full(i(3))),
    case(Mul(i(4)), full(i(4)), full(i(4)), whole(i(3), -1, 3)),
    case(Mul(u(4)), full(i(4)), full(u(3)), whole(u(2), 2, 2)),
    case(Requant(i(4)), full(i(7)), whole(i(4), -2, 7)),
    case(Requant(u(5)), full(i(7)), whole(u(3), 3, 3)),
    case(Rescale(i(5)), full(i(5)), whole(u(4), 1, 9), whole(u(3), 1, 4)),
    case(Quantize(1, i(4)), full(i(8), 1), whole(u(3), 0, 6, 1)),
    case(Quantize(1, i(3), 2), full(i(7), 1), whole(u(5), 3, 19, 1)),
    case(Dequantize(1), full(i(4), 1), whole(u(3), 1, 6, 1)),
    case(Dequantize(1, 2), full(i(4), 1), whole(u(5), 2, 21, 1)),
    case(Pwl(-20, 3, 2, i(5)), full(i(7)), full(i(6), 5), full(i(4), 5), fixed=(1, 2)),
    case(Pwl(0, 0, 0, u(4)), full(u(5)), full(u(5), 9), full(i(3), 9), fixed=(1, 2)),
    case(Pwl(-200, 4, 1, i(6)), full(i(8)), full(i(9), 1), full(i(4), 1), fixed=(1, 2)),
    case(PwlLog(1, 2, i(6)), full(u(8)), full(i(8), 16), full(i(4), 16), fixed=(1, 2)),
    case(PwlLog(3, 0, u(6)), full(u(3)), full(u(6), 9), full(i(4), 9), fixed=(1, 2)),
    case(PwlLog(0, 1, i(8)), full(u(7)), full(i(7), 9), full(i(3), 9), fixed=(1, 2)),
    case(DecayUpdate(2, i(4)), full(i(4)), whole(u(3), 0, 4), full(i(2)), full(i(2)),
         whole(u(1), 0, 1)),
    case(GroupScale(1, 4), full(i(8), 1)),
    case(GroupScale(2, 3, 2, 12), full(i(5), 2)),
    case(RmsNorm(4, 3, i(7)), full(i(6), 1)),
    case(RmsNorm(3, 1, i(5)), full(i(4), 2)),
    case(Center(), full(i(5), 2)),
    case(Argmax(), full(i(2), 5)),
    case(Contract(), full(i(2), 3), full(u(2), 3)),
    case(Embed(), whole(u(4), 0, 10), full(i(5), 11, 3), fixed=(1,)),
    case(Truncate(3, i(4)), full(i(8))),
    case(Truncate(0, u(3)), full(i(5))),
    case(MulShift(2, i(5)), full(i(4)), full(i(3)), full(u(2)), whole(u(1), 0, 1)),
    case(MulShift(0, u(6)), full(u(3)), full(i(3)), whole(u(1), 1, 1), full(u(2))),
    case(ShiftDecay(1, 3, i(4)), full(i(4), 1), full(u(2), 1), full(u(3), 1), full(u(1), 1),
         full(i(2), 1)),
    case(GroupShift(1, 4, 3), full(i(8), 1)),
    case(GroupShift(2, 3, 8), full(i(5), 2)),
    case(StepTable(-20, 1, 3), full(i(7)), full(i(5), 16), full(u(2), 4), fixed=(1, 2)),
    case(StepTable(3, 0, 2), full(u(6)), full(u(4), 40), full(u(3), 12), fixed=(1, 2)),
    case(RmsTable((0, 12, 40), (0, 2, 4), (3, 1, 0), 4, 2, i(6)), full(i(5), 2), full(u(5), 3, 12),
         full(i(4), 2), fixed=(1, 2)),
    case(RmsTable((2,), (1,), (0,), 3, 0, i(4)), full(i(6), 1), full(u(4), 1, 7), full(i(3), 1),
         fixed=(1, 2)),
    case(GroupRead(2, 2, 4), full(i(3), 3, 1), full(i(1), 3, 1), whole(u(1), 1, 1, 1, 1)),
]  # fmt: skip

WIDE = [
    case(Add(i(16)), full(i(16), 3, 1), full(i(16), 1, 5)),
    case(Mul(i(16)), full(i(16), 5), full(i(16), 5), whole(i(6), 15, 15, 1)),
    case(Requant(i(8)), full(i(32), 7), whole(i(6), -3, 21, 7)),
    case(Rescale(i(24)), full(i(24), 6), full(u(16), 6), whole(u(5), 12, 20, 6)),
    case(Quantize(4, i(8), 2), full(i(24), 10), whole(u(7), 0, 80, 3)),
    case(Quantize(4, i(4)), full(i(24), 2, 10), whole(u(5), 0, 20, 2, 3)),
    case(Dequantize(4, 2), full(i(8), 10), whole(u(6), 0, 60, 3)),
    case(DecayUpdate(16, i(16)), full(i(16), 2, 3, 2), whole(u(17), 0, 65536, 2, 1, 1),
         full(i(16), 2, 3, 1), full(i(8), 1, 1, 2), whole(u(4), 3, 9, 1, 1, 1)),
    case(DecayUpdate(15, i(24)), full(i(24), 5), whole(u(16), 0, 32768, 5), full(i(16), 5),
         full(i(16), 5), whole(u(5), 6, 6, 5)),
    case(GroupScale(5, 8, 2), full(i(24), 13)),
    case(GroupScale(16, 4, 0, 13), full(i(16), 2, 20)),
    case(RmsNorm(10, 900, i(16)), full(i(16), 9)),
    case(RmsNorm(6, 1, i(16)), full(i(24), 2, 5)),
    case(Center(), full(i(16), 11)),
    case(Argmax(), full(i(24), 13)),
    case(Contract(), full(i(16), 3, 7), full(i(8), 1, 7)),
    case(Fir(), full(i(8), 4, 5), full(i(8), 4, 5), full(i(16), 5)),
    case(Fir(), full(i(8), 3, 5), full(i(6), 3, 5), full(i(12), 5), fixed=(1, 2)),
    case(Hadamard(8), full(i(8), 16)),
    case(Hadamard(1), full(i(8), 3)),
    case(Hadamard(12), full(i(8), 12)),
    case(Hadamard(40), full(i(8), 40)),
    case(Hadamard(56), full(i(6), 56)),
    case(Linear(7), full(i(8), 7), full(i(8), 3, 7), whole(u(1), 1, 1, 3, 1)),
    case(Linear(4), full(i(4), 10), full(i(4), 3, 10), full(u(4), 3, 3)),
    case(Linear(4, 6, 2), full(i(4), 10), full(i(4), 3, 10), full(u(4), 3, 3),
         whole(u(5), 0, 18, 2)),
    case(Linear(10, 3), full(i(8), 10), full(i(4), 2, 10), full(u(4), 2, 1), whole(u(3), 0, 5, 4),
         fixed=(1, 2)),
    case(Push(), full(i(8), 4, 3), full(i(8), 3)),
    case(Spread(3, 10), full(i(8), 2, 4)),
    case(Transpose((2, 0, 1)), full(i(8), 2, 3, 4)),
    case(Truncate(9, i(8)), full(i(24), 5)),
    case(MulShift(7, i(16)), full(i(8), 3, 1), full(i(8), 1, 4), full(u(4), 3, 1),
         full(u(3), 1, 4)),
    case(ShiftDecay(4, 12, i(16)), full(i(8), 2, 6), full(u(4), 2, 2), full(u(8), 2, 1),
         whole(u(4), 0, 9, 2, 1), full(i(16), 2, 6)),
    case(ShiftFir(4), full(i(8), 3, 6), full(u(4), 3, 6), full(i(8), 3, 6), full(u(3), 3, 2),
         full(i(16), 6), full(u(3), 2)),
    case(ShiftFir(4), full(i(8), 4, 5), full(u(4), 4, 5), full(i(8), 4, 5), full(u(3), 4, 2),
         full(i(16), 5), full(u(3), 2), fixed=(2, 3, 4, 5)),
    case(GroupShift(8, 8, 15), full(i(24), 2, 13)),
    case(GroupRead(4, 8, 20), full(i(24), 2, 6, 3), full(i(8), 1, 6, 1), full(u(4), 1, 6, 1)),
    case(StepTable(-1024, 4, 6), full(i(14), 3), full(i(8), 128), full(u(4), 32), fixed=(1, 2)),
    case(RmsTable((0, 1 << 12, 1 << 20), (4, 9, 14), (6, 3, 0), 9, 5, i(8)), full(i(12), 2, 9),
         full(u(9), 3, 256), full(i(8), 9), fixed=(1, 2)),
    case(Slice(2, 5), full(i(8), 2, 7)),
    case(Reshape((2, 6), (3, 4)), full(i(8), 2, 6)),
    case(Concat(), full(i(8), 2, 1), full(i(8), 2, 3)),
    case(Embed(), whole(u(9), 0, 299), full(i(12), 300, 2), fixed=(1,)),
    case(Clip(-100, 3000), full(i(16), 4)),
    case(Pwl(-4096, 6, 6, i(16)), full(i(14), 3), full(i(20), 128), full(i(12), 128), fixed=(1, 2)),
    case(PwlLog(3, 6, u(16)), full(u(20), 3), full(u(20), 150), full(i(10), 150), fixed=(1, 2)),
]  # fmt: skip


def name_of(value) -> str | None:
    return f"{value[0]}" if isinstance(value, tuple) and len(value) == 3 else None
