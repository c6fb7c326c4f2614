"""What stands between the kernels and the executor: rotations as products, chunks, threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from cosim.ir.graph import GraphBuilder
from cosim.ir.types import TensorType, i, u
from cosim.kernels import matmul, runner
from cosim.kernels.elementwise import prepare_product
from cosim.kernels.linear import scale_rows
from cosim.kernels.rotate import prepare_rotation
from cosim.kernels.tables import prepare_pwl_log
from cosim.ops import Add, Hadamard, Mul, PwlLog
from cosim.ops.group_scale import decode_scale
from cosim.ops.pwl_log import segment_count
from cosim.reference import run
from cosim.torch_exec import TorchExecutor
from tests.random_graphs import data_for, random_model


@pytest.mark.parametrize("bits", [8, 16, 30])
@pytest.mark.parametrize("order", [1, 2, 12, 20, 28, 40, 64, 96])
def test_rotations_as_products(order, bits):
    """int8, float32 and float64 products; data at the ends reach the proved bound."""
    op, t = Hadamard(order), TensorType.full(i(bits), (3, 2 * order))
    kernel = prepare_rotation(op, [t], op.infer([t]), torch.device("cpu"))
    assert kernel is not None
    rng = np.random.default_rng(order)
    for x in (rng.choice([t.lo, t.hi], (2, 5, *t.shape)), np.full((1, *t.shape), t.lo)):
        got, count = kernel([torch.from_numpy(x)])
        assert np.array_equal(got.numpy(), op.meaning(x))
        assert count == 0


def test_rotations_past_float64_run_as_written():
    t = TensorType.full(i(50), (64,))
    assert prepare_rotation(Hadamard(64), [t], Hadamard(64).infer([t]), torch.device("cpu")) is None


@pytest.mark.parametrize("chunk", [1, 5, 7])
@pytest.mark.parametrize("seed", [3, 8, 21])
def test_chunks_change_nothing(monkeypatch, seed, chunk):
    """A window that is no multiple of the chunk, states and saturation counts included."""
    monkeypatch.setattr(runner, "CHUNK_TOKENS", chunk)
    model = random_model(seed)
    x = data_for(model, np.random.default_rng(seed), (2, 9), "corners")
    want, got = run(model, x, keep=None), TorchExecutor(model).run(x, keep=None)
    for mine, theirs in ((got.values, want.values), (got.states, want.states)):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[n], theirs[n]) for n in theirs)
    assert got.clipped == want.clipped
    assert got.elements == want.elements


def test_chunks_are_smaller_where_values_are_large_and_never_tiny():
    def chunk_of(size):
        b = GraphBuilder("g")
        b.output("y", b.add("y", Add(i(9)), b.input("x", TensorType.full(i(8), (size,))), "x"))
        return runner.GraphRunner(b.build(), torch.device("cpu"), True).chunk

    assert [chunk_of(n) for n in (1, 1024, 2048, 4096, 1 << 20)] == [1024, 1024, 512, 256, 256]


@pytest.mark.parametrize("size", [511, 512, 513, 1100])
def test_octaves_are_looked_up_in_pieces(size):
    """Zero, powers of two and the ends, over the borders of pieces."""
    rng = np.random.default_rng(size)
    op = PwlLog(3, 4, i(12))
    count = segment_count(u(20).hi, 3)
    base, slope = rng.integers(-30000, 30000, count), rng.integers(-200, 200, count)
    types = [TensorType.full(u(20), (size,)), *(TensorType.full(i(16), (count,)) for _ in "bs")]
    kernel = prepare_pwl_log(op, types, op.infer(types), [None, base, slope])
    ends = [0, 1, 2, 7, 8, 9, (1 << 19) - 1, 1 << 19, (1 << 20) - 1]
    x = np.where(rng.random((3, size)) < 0.2, rng.choice(ends, (3, size)), 0)
    x = np.where(x == 0, (2 ** rng.uniform(0, 20, (3, size))).astype(int), x)
    x[:, ::97] = 0
    got, clipped = kernel([torch.from_numpy(a) for a in (x, base, slope)])
    raw = op.meaning(x, base, slope)
    assert np.array_equal(got.numpy(), np.clip(raw, -2048, 2047))
    assert clipped == np.count_nonzero((raw < -2048) | (raw > 2047)) > 0


@pytest.mark.parametrize(("rows", "n"), [(1, 5), (300, 3), (7, 512), (2, 700), (256, 16)])
def test_an_operand_that_repeats_along_a_row_needs_no_copy(rows, n):
    """Odd sizes, more than one piece, a last piece that is shorter; saturation counted."""
    rng = np.random.default_rng(rows)
    op = Mul(i(16))
    types = [TensorType.full(i(16), (rows, 1)), TensorType.full(i(16), (rows, n))]
    types.append(TensorType(u(4), (1, 1), 3, 3))
    shift = np.full((1, 1), 3)
    for constant in (False, True):
        a, b = (rng.choice([-32768, 32767, 5, -3], (4, *t.shape)) for t in types[:2])
        if constant:
            b = b[0]
        data = [None, b if constant else None, shift]
        kernel = prepare_product(op, types, op.infer(types), data)
        got, count = kernel([torch.from_numpy(x) for x in (a, b, shift)])
        raw = op.meaning(a, b, shift)
        assert np.array_equal(got.numpy(), np.clip(raw, -32768, 32767))
        assert count == np.count_nonzero(np.abs(raw * 2 + 1) > 65535)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_now() -> list[int]:
    """Return torch's number of threads here, and in a thread that starts now."""
    with ThreadPoolExecutor(1) as pool:
        return [torch.get_num_threads(), pool.submit(torch.get_num_threads).result()]


@pytest.mark.usefixtures("two_threads")
def test_threads_give_torch_its_number_back_and_pass_errors_on(monkeypatch):
    model = random_model(3)
    x = data_for(model, np.random.default_rng(0), (3, 4))
    executor = TorchExecutor(model)
    executor.run(x)
    assert threads_now() == [2, 2]

    def fail(*_arguments):
        raise MemoryError("from a worker")

    monkeypatch.setattr(runner.GraphRunner, "run", fail)
    with pytest.raises(MemoryError, match="from a worker"):
        executor.run(x)
    assert threads_now() == [2, 2]


@pytest.mark.parametrize("y_type", [torch.float32, torch.float64, torch.int32, torch.int64])
@pytest.mark.parametrize("mantissa_bits", [0, 3])
def test_products_are_scaled_exactly(y_type, mantissa_bits):
    rng = np.random.default_rng(mantissa_bits)
    y = rng.integers(-(1 << 24), 1 << 24, (6, 5))
    m, codes = rng.integers(1, 256, 5), rng.integers(0, 20 << mantissa_bits, 6)
    out = np.empty(30, dtype=np.int64)
    flat = torch.from_numpy(y).to(y_type).reshape(-1).numpy()
    scale_rows(flat, m, codes.astype(np.int32), 1, mantissa_bits, out)
    scale = decode_scale(codes, mantissa_bits)
    assert np.array_equal(out.reshape(6, 5), y * m * scale[:, None])


def test_int8_products_only_where_they_do_not_saturate(monkeypatch):
    """Without VNNI the CPU's int8 product adds pairs in 16 bits: it must not be chosen."""
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert matmul.choose(1 << 22, 768, 3072, "cpu", 128, 512, fits_int8=True) == "float32"
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    assert matmul.choose(1 << 22, 768, 3072, "cpu", 128, 512, fits_int8=True) == "int8"
    assert matmul.choose(1 << 22, 768, 3072, "cpu", 128, 512, fits_int8=False) == "float32"


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="the CPU has no exact int8 product")
@pytest.mark.parametrize("batch", [1, 3, 40])
@pytest.mark.parametrize(("k", "rows"), [(16, 1), (17, 5), (192, 844), (2048, 33)])
def test_int8_products_at_the_ends(batch, k, rows):
    """All pairs of ends: (-128)^2 k is the largest sum there is."""
    for a in (-128, 127):
        for b in (-128, 127):
            weight = matmul.Weight(torch.full((rows, k), a), torch.device("cpu"))
            x = torch.full((batch, k), b)
            got = weight.integers(x, 128, fits_int8=True)
            assert got.dtype == torch.int32
            assert bool((got == a * b * k).all())
    rng = np.random.default_rng(k)
    w, x = rng.integers(-128, 128, (rows, k)), rng.integers(-128, 128, (batch, k))
    weight = matmul.Weight(torch.from_numpy(w), torch.device("cpu"))
    got = weight.integers(torch.from_numpy(x), 128, fits_int8=True)
    assert np.array_equal(got.numpy(), x @ w.T)
