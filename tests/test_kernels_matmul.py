"""Each arithmetic of the matrix product is exact up to its bound, and wrong past it."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cosim.ir.errors import InternalError, UserError
from cosim.kernels import matmul
from cosim.kernels.matmul import (
    MOST_BLOCKS,
    Weight,
    block_width,
    check_products,
    choose,
    has_int8,
)

CPU = torch.device("cpu")


def product(x, w):
    """Multiply in Python integers."""
    return [[sum(a * b for a, b in zip(row, r, strict=True)) for r in w] for row in x]


def multiply(x, w, form=None, peak=None):
    x, w = torch.tensor(x), torch.tensor(w)
    return Weight(w, CPU).product(x, peak or int(x.abs().max()), form).tolist()


@pytest.mark.parametrize(
    ("bound", "k", "peak", "fits_int8", "want"),
    [
        (2**24 - 1, 768, 255, False, "float32"),
        (2**24, 768, 255, False, "float32 blocks"),
        (2**25, 1031, 127, False, "float32 blocks"),
        (2**24, 4 * 1040, 127, False, "float32 blocks"),
        (2**24, 4 * 1040 + 1, 127, False, "float64"),
        (2**24, 8, 4095, False, "float64"),
        (2**53 - 1, 768, 2**22, False, "float64"),
        (2**53, 768, 2**22, False, "int64"),
        (0, 1, 0, False, "float32"),
    ],
)
def test_the_cheapest_exact_arithmetic_is_chosen(bound, k, peak, fits_int8, want):
    assert choose(bound, k, 64, "cpu", peak, 100, fits_int8) == want


def test_int8_wants_narrow_operands_a_narrow_sum_and_fitting_shapes():
    for change in (
        {"bound": 2**31},
        {"operand_peak": 128},
        {"k": 1016},
        {"rows": 56},
        {"batch": 16},
        {"fits_int8": False},
    ):
        given = {"bound": 2**25, "k": 1024, "rows": 64, "operand_peak": 127, "batch": 17} | change
        got = choose(device="cuda", **given)
        assert got != "int8", change
    assert choose(2**25, 1024, 64, "cuda", 127, 17) == "int8"
    assert choose(2**25, 1024, 64, "cuda", 128, 17, fits_int8=True) == "int8"


@pytest.mark.parametrize("most", [1, 60, 1 << 24])
def test_sums_past_2_to_the_53_are_exact_where_torch_has_no_int64_product(most, monkeypatch):
    assert choose(2**53, 768, 64, "cuda", 2**22, 100) == "int64"
    monkeypatch.setattr(matmul, "MOST_ELEMENTS", most)
    x, w = [[2**30 - 1] * 9, [-(2**30)] * 9] * 3, [[2**23 - 1] * 9, [-1] * 9]
    weight = Weight(torch.tensor(w), CPU)
    assert weight._elements(torch.tensor(x)).tolist() == product(x, w)
    assert weight._elements(torch.zeros((0, 9), dtype=torch.int64)).shape == (0, 2)


@pytest.mark.parametrize("sign", [1, -1])
def test_float32_is_exact_to_its_bound_and_wrong_past_it(sign):
    """Random signs hide it: with operands of one sign the sum of 1040 odd products does not fit."""
    k = 1040
    x = [[127 * sign] * k, [127 * sign] * (k - 1) + [126 * sign]]
    w = [[127] * k]
    assert k * 127 * 127 < 2**24
    assert multiply(x, w, "float32") == product(x, w)
    k = 1100
    x = [[127 * sign] * k, [127 * sign] * (k - 1) + [126 * sign]]
    w = [[127] * k]
    assert multiply(x, w, "float32") != product(x, w)
    assert multiply(x, w) == product(x, w)


def test_float64_is_wrong_past_its_bound():
    x, w = [[2**30 - 1] * 9], [[2**23 - 1] * 9]
    assert multiply(x, w, "float64") != product(x, w)
    assert multiply(x, w) == product(x, w)


@pytest.mark.parametrize("k", [1, 2, 1040, 1041, 2079, 2080, 2081, 4160])
@pytest.mark.parametrize("w_peak", [1, 127, 128])
def test_blocks_of_float32_are_exact(k, w_peak):
    x, w = [[-127] * k, [127] * k, [1] + [127] * (k - 1)], [[w_peak] * k, [-w_peak] * k]
    assert multiply(x, w, "float32 blocks") == product(x, w)


def test_a_block_is_as_wide_as_float32_allows():
    assert block_width(127 * 127) == 1040
    assert 1040 * 127 * 127 < 2**24 <= 1041 * 127 * 127
    assert block_width(2**24) == 0
    assert block_width(0) == 2**24 - 1
    with pytest.raises(InternalError, match="a product up to 33554432 is not exact in float32"):
        multiply([[2**13]], [[2**12]], "float32 blocks")


@pytest.mark.parametrize("form", ["float32", "float32 blocks", "float64", "int64", None])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 3), (5, 1, 4), (3, 30, 1), (17, 64, 16)])
def test_all_forms_agree_with_python(form, shape):
    n, k, rows = shape
    rng = np.random.default_rng(k)
    x, w = rng.integers(-128, 128, (n, k)).tolist(), rng.integers(-128, 128, (rows, k)).tolist()
    assert multiply(x, w, form) == product(x, w)


@pytest.mark.skipif(not has_int8("cpu", 1024, 64, 64), reason="this CPU has no exact int8 product")
@pytest.mark.parametrize("k", [8, 9, 15, 16, 31, 64, 65, 1023, 1025, 4097])
@pytest.mark.parametrize("rows", [1, 2, 3, 8, 17])
def test_int8_is_exact_at_both_ends(k, rows):
    """Kernels that add pairs in 16 bits would saturate at -128 * -128 * 2."""
    rng = np.random.default_rng(k)
    w = rng.choice([-128, 127], (rows, k))
    w[0] = -128
    for n in (1, 2, 16, 17, 33):
        x = rng.choice([-128, 127], (n, k))
        x[0] = -128
        got = Weight(torch.from_numpy(w), CPU).integers(torch.from_numpy(x), 128, fits_int8=True)
        assert got.dtype == torch.int32, "the int8 product was not taken"
        assert np.array_equal(got.numpy(), x @ w.T)


def test_int8_is_not_used_for_few_columns():
    """torch 2.13 multiplies wrongly there with K = 1."""
    assert not has_int8("cpu", 1, 64, 64)
    rng = np.random.default_rng(0)
    for k in range(1, 9):
        x, w = rng.integers(-128, 128, (33, k)), rng.integers(-128, 128, (12, k))
        got = Weight(torch.from_numpy(w), CPU).integers(torch.from_numpy(x), 128, fits_int8=True)
        assert np.array_equal(got.to(torch.int64).numpy(), x @ w.T)


def test_leading_axes_and_views():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (4, 10, 3)), rng.integers(-9, 9, (5, 10))
    view = torch.from_numpy(x).transpose(1, 2)
    got = Weight(torch.from_numpy(w), CPU).product(view, 9)
    assert got.tolist() == (x.swapaxes(1, 2) @ w.T).tolist()
    assert got.dtype == torch.int64


SETTINGS = {
    "older": [
        ('torch.set_float32_matmul_precision("{}")', "medium", "highest", "cpu"),
        ('torch.set_float32_matmul_precision("{}")', "high", "highest", "cuda"),
        ("torch.backends.cuda.matmul.allow_tf32 = {}", "True", "False", "cuda"),
    ],
    "newer": [
        ('torch.backends.mkldnn.matmul.fp32_precision = "{}"', "bf16", "ieee", "cpu"),
        ('torch.backends.cuda.matmul.fp32_precision = "{}"', "tf32", "ieee", "cuda"),
        ('torch.backends.fp32_precision = "{}"', "tf32", "ieee", "cuda"),
    ],
}
ASK = """
import torch
from cosim.ir.errors import UserError
from cosim.kernels.matmul import check_float32
for device in ("cpu", "cuda"):
    check_float32(device)
for setting, cut, whole, device in {}:
    exec(setting.format(cut))
    try:
        check_float32(device)
    except UserError as error:
        print(error)
    exec(setting.format(whole))
    check_float32(device)
"""


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_torch_setting_that_cuts_float32_is_refused(kind):
    """A process each: the older and the newer settings exclude each other until it ends."""
    command = [sys.executable, "-c", ASK.replace("{}", repr(SETTINGS[kind]), 1)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(" (")[0] for line in done.stdout.splitlines()] == [
        f"torch is set to cut float32 products on {device}" for *_, device in SETTINGS[kind]
    ]


def test_a_product_asks_for_the_setting():
    try:
        torch.set_float32_matmul_precision("medium")
        with pytest.raises(UserError, match="torch is set to cut float32 products on cpu"):
            multiply([[1, 2]], [[3, 4]], "float32")
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_device_that_cuts_products_by_itself_is_refused(dtype, monkeypatch):
    """As TF32 does to float32, and emulation may do to float64: eleven bits of each operand."""
    check_products(CPU)
    plain = torch.Tensor.__matmul__

    def cut(x):
        return x.to(torch.bfloat16).to(x.dtype) if x.dtype == dtype else x

    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda x, y: plain(cut(x), cut(y)))
    with pytest.raises(UserError, match=f"{dtype} products on cpu lose bits: "):
        check_products(CPU)


@pytest.mark.parametrize("rows", [17, 32, 33])
def test_int8_on_cuda_gets_operands_that_cublaslt_takes(rows, monkeypatch):
    """The product itself runs on the CPU: K is contiguous in both, the rows are filled up."""
    seen, plain = [], torch._int_mm

    def int_mm(x, w):
        seen.append((tuple(x.shape), x.stride(), w.stride()))
        return plain(x, w)

    monkeypatch.setattr(torch, "_int_mm", int_mm)
    rng = np.random.default_rng(0)
    x, w = rng.integers(-128, 128, (48, rows)), rng.integers(-128, 128, (16, 48))
    weight = Weight(torch.from_numpy(w), CPU)
    weight._device = SimpleNamespace(type="cuda")
    monkeypatch.setattr(Weight, "_move", lambda self, dtype: self._integers.to(dtype))
    got = weight.integers(torch.from_numpy(x).t(), 128, fits_int8=True)
    assert got.tolist() == (x.T @ w.T).tolist()
    assert seen == [((-(-rows // 32) * 32, 48), (48, 1), (1, 48))]


def test_blocks_are_few():
    assert MOST_BLOCKS >= 2
    assert (
        choose(2**26, MOST_BLOCKS * block_width(255 * 255), 64, "cpu", 255, 9) == "float32 blocks"
    )
