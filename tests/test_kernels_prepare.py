"""Each compiled kernel equals its operator's meaning, saturated and counted.

Every operator of the list has a function here that draws a node; a new kernel without one fails.
"""

import numpy as np
import pytest
import torch

from cosim.ir.graph import GraphBuilder
from cosim.ir.numerics import saturate
from cosim.ir.op import Op
from cosim.ir.types import IntType, TensorType, i, smallest_type, u
from cosim.kernels.prepare import KERNELS, prepare
from cosim.kernels.rows import carrier
from cosim.ops import (
    Add,
    Argmax,
    Embed,
    Fir,
    GroupRead,
    GroupScale,
    GroupShift,
    Hadamard,
    Mul,
    MulShift,
    Pwl,
    PwlLog,
    Quantize,
    Requant,
    Rescale,
    Reshape,
    RmsNorm,
    ShiftDecay,
    Slice,
)
from cosim.ops.pwl_log import segment_count
from tests.ops.check import draw_data, draw_type

# An input that moves is a type; a constant is its data.
Case = tuple[Op, list[TensorType | np.ndarray]]


def shape_of(rng) -> tuple[int, ...]:
    return [(1,), (5,), (3, 4), (2, 1, 7)][rng.integers(4)]


def part_of(rng, shape) -> tuple[int, ...]:
    """Return a shape that broadcasts to the given one."""
    return tuple(1 if rng.integers(2) else s for s in shape)


def dtype_of(rng) -> IntType:
    """Draw a type: half of the time so wide that the last bit of a large result is seen."""
    return IntType(int(rng.integers(2, 20)), bool(rng.integers(3))) if rng.integers(2) else i(60)


def shifts(rng, shape, lo, hi) -> np.ndarray:
    return rng.integers(lo, hi, part_of(rng, shape), endpoint=True)


def add(rng, bits) -> Case:
    shape = shape_of(rng)
    a, b = draw_type(rng, shape, bits), draw_type(rng, part_of(rng, shape), bits)
    other = draw_data(rng, b) if rng.integers(2) else b
    return Add(dtype_of(rng)), [other, a] if rng.integers(2) else [a, other]


def mul(rng, bits) -> Case:
    shape = shape_of(rng)
    a, b = draw_type(rng, shape, bits), draw_type(rng, part_of(rng, shape), min(bits, 24))
    other = draw_data(rng, b) if rng.integers(2) else b
    return Mul(dtype_of(rng)), [a, other, shifts(rng, shape, -3, bits)]


def rescale(rng, bits) -> Case:
    shape = shape_of(rng)
    m = draw_data(rng, draw_type(rng, part_of(rng, shape), 14))
    return Rescale(dtype_of(rng)), [draw_type(rng, shape, bits), m, shifts(rng, shape, -3, bits)]


def requant(rng, bits) -> Case:
    shape = shape_of(rng)
    return Requant(dtype_of(rng)), [draw_type(rng, shape, bits), shifts(rng, shape, -9, 31)]


def argmax(rng, bits) -> Case:
    return Argmax(), [draw_type(rng, shape_of(rng), 4 if rng.integers(2) else bits)]


def embed(rng, bits) -> Case:
    table = draw_data(rng, draw_type(rng, (7, int(rng.integers(1, 6))), bits))
    return Embed(), [TensorType(u(4), (), 0, 6), table]


def fir(rng, bits) -> Case:
    k, c = int(rng.integers(1, 6)), int(rng.integers(1, 8))
    taps = draw_data(rng, draw_type(rng, (k, c), 10))
    return Fir(), [draw_type(rng, (k, c), bits), taps, draw_data(rng, draw_type(rng, (c,), bits))]


def group_scale(rng, bits) -> Case:
    form = [(8, 0, 16), (4, 1, 12), (6, 3, 16), (2, 2, 8)][rng.integers(4)]
    return GroupScale(int(rng.integers(1, 9)), *form), [draw_type(rng, shape_of(rng), bits)]


def quantize(rng, bits) -> Case:
    shape, group, mantissa = shape_of(rng), int(rng.integers(1, 9)), int(rng.integers(4))
    codes = TensorType(u(6), (*shape[:-1], -(-shape[-1] // group)), 0, int(rng.integers(1, 5)))
    op = Quantize(group, i(int(rng.integers(2, 9))), mantissa)
    return op, [draw_type(rng, shape, bits), codes]


def hadamard(rng, bits) -> Case:
    order = [1, 2, 4, 8, 64, 96, 160, 224, 320][rng.integers(9)]
    shape = (2, order * int(rng.integers(1, 3)))
    return Hadamard(order), [draw_type(rng, shape[rng.integers(2) :], bits)]


def pwl(rng, bits) -> Case:
    size = int(rng.integers(1, 9))
    base, slope = (draw_data(rng, draw_type(rng, (size,), 16)) for _ in range(2))
    start, width, guard = rng.integers((-99, 0, 0), (99, bits - 2, 12)).tolist()
    op = Pwl(start, width, guard, dtype_of(rng))
    return op, [draw_type(rng, shape_of(rng), bits), base, slope]


def pwl_log(rng, bits) -> Case:
    x, m = draw_type(rng, shape_of(rng), bits, signed=False), int(rng.integers(5))
    base, slope = (draw_data(rng, draw_type(rng, (segment_count(x.hi, m),), 16)) for _ in range(2))
    return PwlLog(m, int(rng.integers(9)), dtype_of(rng)), [x, base, slope]


def reshape(rng, bits) -> Case:
    source, target = [((6,), (2, 3)), ((2, 3), (6,)), ((), (1,)), ((2, 3), (1, 2, 3))][
        rng.integers(4)
    ]
    return Reshape(source, target), [draw_type(rng, source, bits)]


def slice_(rng, bits) -> Case:
    shape = shape_of(rng)
    start = int(rng.integers(shape[-1]))
    stop = int(rng.integers(start + 1, shape[-1] + 1))
    return Slice(start, stop), [draw_type(rng, shape, bits)]


def rms_norm(rng, bits) -> Case:
    op = RmsNorm(int(rng.integers(16)), int(rng.integers(1, 5000)), i(int(rng.integers(4, 18))))
    return op, [draw_type(rng, shape_of(rng), min(bits, 26))]


def group_shift(rng, bits) -> Case:
    form = (int(rng.integers(1, 9)), int(rng.integers(2, 9)), int(rng.integers(16)))
    return GroupShift(*form), [draw_type(rng, shape_of(rng), bits)]


def exponents(rng, shape) -> TensorType | np.ndarray:
    """Draw exponents that move, or constant ones."""
    t = TensorType(u(3), part_of(rng, shape), 0, int(rng.integers(8)))
    return draw_data(rng, t) if rng.integers(2) else t


def mul_shift(rng, bits) -> Case:
    shape = shape_of(rng)
    a, b = draw_type(rng, shape, bits), draw_type(rng, part_of(rng, shape), min(bits, 16))
    other = draw_data(rng, b) if rng.integers(2) else b
    op = MulShift(int(rng.integers(9)), dtype_of(rng))
    return op, [a, other, exponents(rng, shape), exponents(rng, shape)]


def shift_decay(rng, bits) -> Case:
    shape, group = shape_of(rng), int(rng.integers(1, 9))
    s = TensorType.full(u(3), (*shape[:-1], -(-shape[-1] // group)))
    a = draw_type(rng, part_of(rng, shape), 8)
    decay = draw_data(rng, a) if rng.integers(2) else a
    op = ShiftDecay(group, int(rng.integers(7)), dtype_of(rng))
    q, new = draw_type(rng, shape, 8), draw_type(rng, part_of(rng, shape), bits)
    return op, [q, s, decay, exponents(rng, shape), new]


def group_read(rng, bits) -> Case:
    shape = [(1, 1), (9, 2), (2, 8, 3), (2, 1, 5, 4)][rng.integers(4)]
    c = draw_type(rng, part_of(rng, shape), 8)
    factor = draw_data(rng, c) if rng.integers(2) else c
    op = GroupRead(int(rng.integers(1, 9)), int(rng.integers(2, 9)), int(rng.integers(12)))
    return op, [draw_type(rng, shape, bits), factor, exponents(rng, shape)]


CASES = {
    Add: add,
    Argmax: argmax,
    Embed: embed,
    Fir: fir,
    GroupRead: group_read,
    GroupScale: group_scale,
    GroupShift: group_shift,
    Hadamard: hadamard,
    Mul: mul,
    MulShift: mul_shift,
    Pwl: pwl,
    PwlLog: pwl_log,
    Quantize: quantize,
    Requant: requant,
    Rescale: rescale,
    Reshape: reshape,
    RmsNorm: rms_norm,
    ShiftDecay: shift_decay,
    Slice: slice_,
}


def test_every_kernel_has_a_case():
    assert set(KERNELS) - set(CASES) == set()


def node_of(case: Case):
    """Build the graph of one node; return it with the constants' data in order."""
    op, operands = case
    b, data = GraphBuilder("g"), []
    for k, operand in enumerate(operands):
        if isinstance(operand, TensorType):
            b.input(f"x{k}", operand)
            data.append(None)
        else:
            dtype = smallest_type(int(operand.min()), int(operand.max()))
            b.const(f"x{k}", np.asarray(operand), dtype)
            data.append(np.asarray(operand))
    b.add("y", op, *(f"x{k}" for k in range(len(operands))))
    return b.build(), data


def view_of(array: np.ndarray, dtype: torch.dtype, how: int) -> torch.Tensor:
    """Put data into a tensor: contiguous, as a slice of a wider one, or with strange strides."""
    x = torch.from_numpy(np.ascontiguousarray(array)).to(dtype).reshape(array.shape)
    if how == 0 or x.ndim == 0:
        return x
    if how == 1:
        wide = torch.full((*x.shape[:-1], x.shape[-1] + 5), 77, dtype=dtype)
        wide[..., 2 : 2 + x.shape[-1]] = x
        return wide[..., 2 : 2 + x.shape[-1]]
    return x.transpose(0, -1).contiguous().transpose(0, -1)


@pytest.mark.parametrize("bits", [10, 16, 30])
@pytest.mark.parametrize("op", list(KERNELS), ids=lambda op: op.name)
def test_equals_the_meaning(op, bits):
    """Narrow inputs run in int32 carriers, wide ones in int64; data at the ends saturate."""
    prepared = clipped = 0
    for seed in range(16):
        rng = np.random.default_rng(seed)
        graph, data = node_of(CASES[op](rng, bits))
        node, out = graph.nodes[0], graph.types["y"]
        kernel = prepare(graph, node)
        if kernel is None:
            continue
        prepared += 1
        types = graph.input_types(node)
        for how, kind in enumerate(("random", "corners", "high", "low")):
            for lead in ((3, 4), (2,), (1, 1)):
                arrays = [
                    draw_data(rng, t, lead, kind) if d is None else d
                    for t, d in zip(types, data, strict=True)
                ]
                raw = node.op.meaning(*arrays)
                want = saturate(raw, out.dtype) if node.op.saturates else raw
                tensors = [
                    view_of(a, carrier(t.peak), how % 3 if d is None else 0)
                    for a, t, d in zip(arrays, types, data, strict=True)
                ]
                before = [x.clone() for x in tensors]
                got, count = kernel(tensors)
                assert np.array_equal(got.numpy(), want), (seed, kind, lead, str(node.op))
                assert got.dtype == carrier(out.peak)
                assert count == np.count_nonzero(want != raw)
                assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))
                clipped += count
    assert prepared >= 8, "hardly any case has a kernel: nothing was tested"
    if op.saturates:
        assert clipped > 0, "nothing saturated: the count shows nothing"


@pytest.mark.parametrize("order", [1, 2, 4, 8, 16, 64, 128, 96, 192, 224, 320, 640, 768])
def test_rotations_of_every_base(order):
    graph, _ = node_of((Hadamard(order), [TensorType.full(i(16), (2 * order,))]))
    kernel = prepare(graph, graph.nodes[0])
    assert kernel is not None
    x = np.random.default_rng(order).choice([-32768, 32767], (2, 3, 2 * order))
    got, _ = kernel([torch.from_numpy(x.astype(np.int32))])
    assert np.array_equal(got.numpy(), Hadamard(order).meaning(x))


@pytest.mark.parametrize("lo", [-(1 << 15), -300, 0, 5])
def test_small_input_ranges_become_tables(lo):
    """Every input of the range, its ends included."""
    hi = lo + (1 << 16) - 1
    base, slope = np.array([5, -100, 7000]), np.array([1, -3, 9])
    op = Pwl(-200, 7, 4, i(9))
    graph, _ = node_of((op, [TensorType(i(20), (1 << 16,), lo, hi), base, slope]))
    x = np.arange(lo, hi + 1)
    kernel = prepare(graph, graph.nodes[0])
    assert kernel is not None
    tables = [torch.from_numpy(a) for a in (base, slope)]
    got, count = kernel([torch.from_numpy(x[None].astype(np.int32)), *tables])
    raw = op.meaning(x, base, slope)
    assert np.array_equal(got[0].numpy(), saturate(raw, i(9)))
    assert count == np.count_nonzero(saturate(raw, i(9)) != raw) > 0


def test_filters_read_overlapping_windows_in_place():
    x = torch.arange(-40, 50, dtype=torch.int32).reshape(2, 15, 3)
    windows = x.unfold(1, 4, 1).movedim(-1, 2)
    taps, bias = np.arange(12).reshape(4, 3) - 5, np.array([100, -100, 0])
    graph, _ = node_of((Fir(), [TensorType.full(i(8), (4, 3)), taps, bias]))
    kernel = prepare(graph, graph.nodes[0])
    assert kernel is not None
    got, _ = kernel([windows, torch.from_numpy(taps), torch.from_numpy(bias)])
    assert np.array_equal(got.numpy(), Fir().meaning(windows.numpy().astype(np.int64), taps, bias))


def test_shifts_that_move_leave_the_meaning_to_run():
    moving = TensorType(i(4), (5,), 0, 3)
    for op, operands in (
        (Requant(i(8)), [TensorType.full(i(8), (5,)), moving]),
        (Mul(i(8)), [TensorType.full(i(8), (5,)), TensorType.full(i(8), (5,)), moving]),
    ):
        graph, _ = node_of((op, operands))
        assert prepare(graph, graph.nodes[0]) is None
