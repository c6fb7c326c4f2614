"""Arrays agree with SCALE-Sim's recorded runs, with processing elements simulated one by one, and
with themselves as a network."""

import time
from fractions import Fraction

import numpy as np
import pytest

from cosim.ir.errors import UserError
from hw_models.dataflow import solve
from hw_models.validate.arrays import (
    Array,
    Feeds,
    Product,
    array_network,
    array_presets,
    closed_form_cycles,
    folds,
    scalesim_cycles,
)
from tests.benchmarks import array_speed

FFN = Product(512, 768, 3072)
# Runs of scalesim 3.0.0 with operands that are always there (its count, from 0, plus 1).
RUNS = [
    ("ws", 32, 32, Product(16, 64, 64), 440),
    ("os", 32, 32, Product(16, 64, 64), 252),
    ("ws", 32, 32, Product(1, 768, 3072), 218_880),
    ("os", 32, 32, Product(1, 768, 3072), 79_680),
    ("ws", 32, 32, FFN, 1_396_224),
    ("ws", 8, 4, Product(10, 21, 13), 336),
    ("os", 8, 4, Product(10, 21, 13), 248),
    ("is", 8, 4, Product(10, 21, 13), 279),
    ("ws", 4, 8, Product(10, 21, 13), 288),
    ("os", 4, 8, Product(10, 21, 13), 186),
    ("is", 4, 8, Product(10, 21, 13), 324),
]


def preset(name: str, rows: int = 32, columns: int = 32) -> Array:
    return next(a for a in array_presets(rows, columns) if a.name == name)


@pytest.mark.parametrize(("name", "rows", "columns", "product", "cycles"), RUNS)
def test_scalesim_said_so(name, rows, columns, product, cycles):
    assert scalesim_cycles(preset(name, rows, columns), product) == cycles


def test_scalesim_does_not_shift_out_the_outputs_that_stay():
    """Its maintainers' formula is 2R + C + K - 2, its code R + C + K - 2 (scale-sim-v3 issue 4)."""
    array, product = preset("os"), Product(1, 768, 3072)
    assert closed_form_cycles(array, product) == 82_752
    count, _ = folds(array, product)
    assert closed_form_cycles(array, product) - scalesim_cycles(array, product) == 32 * count
    for name in ("ws", "is"):
        assert closed_form_cycles(preset(name), FFN) == scalesim_cycles(preset(name), FFN)


def wavefronts_through(held: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, int]:
    """Step an array whose `held` [R, C] stays: `moving` [T, R] enters skewed from the left, sums
    go down. Return moving @ held and the cycles, with those that load."""
    rows, columns = held.shape
    through = moving.shape[0]
    right = np.zeros((rows, columns + 1), np.int64)
    down = np.zeros((rows + 1, columns), np.int64)
    out = np.zeros((through, columns), np.int64)
    done = cycle = 0
    while done < through * columns:
        for r in range(rows):
            t = cycle - r
            right[r, 0] = moving[t, r] if 0 <= t < through else 0
        sums = np.zeros_like(down)
        sums[1:] = down[:-1] + right[:, :-1] * held
        moved = right.copy()
        moved[:, 1:] = right[:, :-1]
        for c in range(columns):
            t = cycle - (rows - 1) - c
            if 0 <= t < through:
                out[t, c] = sums[rows, c]
                done += 1
        right, down = moved, sums
        cycle += 1
    return out, rows + cycle


def outputs_that_stay(left: np.ndarray, top: np.ndarray) -> tuple[np.ndarray, int]:
    """Step an array whose sums [R, C] stay: `left` [R, T] and `top` [T, C] enter skewed; then the
    sums are shifted out downwards. Return left @ top and the cycles."""
    (rows, through), columns = left.shape, top.shape[1]
    a = np.zeros((rows, columns), np.int64)
    b = np.zeros((rows, columns), np.int64)
    held = np.zeros((rows, columns), np.int64)
    macs = cycle = 0
    while macs < rows * columns * through:
        a[:, 1:], b[1:, :] = a[:, :-1].copy(), b[:-1, :].copy()
        for r in range(rows):
            t = cycle - r
            a[r, 0] = left[r, t] if 0 <= t < through else 0
        for c in range(columns):
            t = cycle - c
            b[0, c] = top[t, c] if 0 <= t < through else 0
        held += a * b
        at = cycle - np.add.outer(np.arange(rows), np.arange(columns))
        macs += int(((at >= 0) & (at < through)).sum())
        cycle += 1
    out = np.zeros_like(held)
    for shift in range(rows):
        out[rows - 1 - shift] = held[-1]
        held[1:] = held[:-1].copy()
        cycle += 1
    return out, cycle


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 4, 3), (3, 1, 5), (4, 3, 7), (5, 6, 2)])
def test_processing_elements_one_by_one_take_as_long(sizes):
    rows, columns, through = sizes
    rng = np.random.default_rng(3)
    held = rng.integers(-9, 9, (rows, columns))
    moving = rng.integers(-9, 9, (through, rows))
    out, cycles = wavefronts_through(held, moving)
    assert np.array_equal(out, moving @ held)
    weights = Product(through, rows, columns)
    assert closed_form_cycles(preset("ws", rows, columns), weights) == cycles
    inputs = Product(columns, rows, through)
    assert closed_form_cycles(preset("is", rows, columns), inputs) == cycles
    left, top = rng.integers(-9, 9, (rows, through)), rng.integers(-9, 9, (through, columns))
    out, cycles = outputs_that_stay(left, top)
    assert np.array_equal(out, left @ top)
    assert (
        closed_form_cycles(preset("os", rows, columns), Product(rows, through, columns)) == cycles
    )


def test_the_network_takes_the_cycles_of_the_closed_form():
    rng = np.random.default_rng(7)
    for _ in range(12):
        m, k, n, rows, columns = (int(x) for x in rng.integers(1, [90, 90, 90, 17, 17]))
        for array in array_presets(rows, columns):
            network = array_network(array, Product(m, k, n))
            expected = closed_form_cycles(array, Product(m, k, n))
            for shortcut in (False, True):
                assert solve(network, 1, shortcut).finish("array")[-1] == expected


def test_an_array_waits_for_what_comes_slowly():
    array, product = preset("ws", 4, 4), Product(20, 16, 8)
    count, through = folds(array, product)
    free = closed_form_cycles(array, product)
    for feeds, words in (
        (Feeds(moving=Fraction(1)), 4 * through * count),
        (Feeds(held=Fraction(1, 8)), 4 * 4 * count),
        (Feeds(results=Fraction(1)), 4 * through * count),
    ):
        network = array_network(array, product, feeds)
        whole, short = (solve(network, 1, s) for s in (False, True))
        cycles = int(whole.finish("array")[-1])
        assert cycles == short.finish("array")[-1]
        rate = next(r for r in vars(feeds).values() if r is not None)
        # Two folds' worth is in the buffers at the start, or may be left in them at the end.
        assert words / rate * (1 - Fraction(3, count)) < cycles <= words / rate + free
        assert cycles > free
        waits = [whole.starved("held"), whole.starved("moving"), whole.blocked("results")]
        assert sorted(w > 0 for w in waits) == [False, False, True]
    wide = Feeds(*(Fraction(4) for _ in range(3)))
    assert solve(array_network(array, product, wide)).finish("array")[-1] == free


def test_a_large_product_takes_under_ten_milliseconds():
    array = preset("ws")
    for compute in (
        lambda: closed_form_cycles(array, FFN),
        lambda: int(solve(array_network(array, FFN)).finish("array")[-1]),
    ):
        compute()
        best = 1.0
        for _ in range(5):
            began = time.process_time()
            assert compute() == 24 * 96 * (64 + 32 + 512 - 2)
            best = min(best, time.process_time() - began)
        assert best < 0.010


def test_sizes_that_cannot_be_are_told():
    with pytest.raises(UserError, match="a product's K is 0; give 1 to 1,048,576"):
        Product(1, 0, 1)
    with pytest.raises(UserError, match="array ws: 0 columns; give 1"):
        array_presets(4, 0)
    with pytest.raises(UserError, match="array a: 'sums' cannot stay; choose one of"):
        Array("a", "sums", 1, 1, "")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the moving come at 0 words a cycle"):
        Feeds(moving=Fraction(0))


def test_the_benchmark_prints_ours_and_says_what_is_absent(capsys, tmp_path):
    assert array_speed.main(["--product", "16x64x64", "--stays", "os"]) == 0
    said = capsys.readouterr().out
    for part in ("closed form", "316", "252"):
        assert part in said
    assert said.count("absent: give --peers PYTHON") == 2
    assert array_speed.main(["--product", "16x64"]) == 2
    assert "write them as 32x32x32" in capsys.readouterr().err
    assert array_speed.main(["--peers", str(tmp_path / "none")]) == 2
    assert "there is no Python at" in capsys.readouterr().err
