"""`hadamard`: the dense +-1 matrix by additions alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Hadamard
from cosim.ops.hadamard import BASES, hadamard_matrix, split_order
from tests.ops.check import check, draw_type

ORDERS = [1, 2, 4, 12, 20, 24, 28, 40, 48, 56, 64, 80]


@pytest.mark.parametrize("order", [*ORDERS, 96, 160, 192, 256, 768, 1024])
def test_the_matrix_is_hadamard(order):
    h = hadamard_matrix(order)
    assert set(np.unique(h).tolist()) <= {-1, 1}
    assert np.array_equal(h @ h.T, order * np.eye(order, dtype=np.int64))


@pytest.mark.parametrize("k", range(7))
def test_powers_of_two_are_sylvesters(k):
    """Entry (a, b) is the parity of the common bits of a and b."""
    want = [[(-1) ** ((a & b).bit_count() % 2) for b in range(2**k)] for a in range(2**k)]
    assert hadamard_matrix(2**k).tolist() == want


def character(a, p):
    """Return the Legendre symbol by Euler's criterion."""
    return {0: 0, 1: 1, p - 1: -1}[pow(a % p, (p - 1) // 2, p)]


@pytest.mark.parametrize(("order", "p"), [(12, 11), (20, 19)])
def test_bases_are_paleys_first_construction(order, p):
    """Saved weights hold the other half of the rotation: the matrix must never change."""
    want = [[1] * order]
    want += [[-1] + [character(a - b, p) + (a == b) for b in range(p)] for a in range(p)]
    assert hadamard_matrix(order).tolist() == want


def test_base_28_is_paleys_second_construction():
    cells = {0: [[1, -1], [-1, -1]], 1: [[1, 1], [1, -1]], -1: [[-1, -1], [-1, 1]]}
    conference = [[0] + [1] * 13]
    conference += [[1] + [character(a - b, 13) for b in range(13)] for a in range(13)]
    want = np.block([[np.array(cells[c]) for c in row] for row in conference])
    assert np.array_equal(hadamard_matrix(28), want)


def test_base_40_doubles_base_20():
    h = hadamard_matrix(20)
    assert np.array_equal(hadamard_matrix(40)[::2, ::2], h)
    assert np.array_equal(hadamard_matrix(40)[1::2, 1::2], -h)
    assert np.array_equal(hadamard_matrix(80), np.kron(hadamard_matrix(40), [[1, 1], [1, -1]]))


def test_the_matrix_cannot_be_changed():
    """It is shared by all callers."""
    with pytest.raises(ValueError, match=r"read-only"):
        hadamard_matrix(12)[0, 0] = 5


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.sampled_from(ORDERS), st.integers(1, 3))
def test_equals_the_dense_matrix(seed, order, blocks):
    rng = np.random.default_rng(seed)
    h = hadamard_matrix(order).tolist()

    def plain(x):
        return [
            sum(s * v for s, v in zip(row, x[k : k + order], strict=True))
            for k in range(0, len(x), order)
            for row in h
        ]

    for most_bits in (8, 50):
        check(
            Hadamard(order),
            [draw_type(rng, (order * blocks,), most_bits)],
            plain,
            rng,
            leads=((), (2,)),
        )


@pytest.mark.parametrize("order", [12, 28, 96, 768])
def test_equals_numpy_in_float(order):
    x = np.random.default_rng(order).integers(-(2**20), 2**20, (5, 2, 2 * order))
    blocks = x.reshape(5, 2, 2, order).astype(np.float64)
    want = (blocks @ hadamard_matrix(order).T.astype(np.float64)).reshape(x.shape)
    assert np.array_equal(Hadamard(order).meaning(x), want)


@pytest.mark.parametrize("order", ORDERS)
def test_bounds_are_reached(order):
    """The input that follows the signs of a row adds up to n times the peak."""
    row = hadamard_matrix(order)[order // 2]
    assert Hadamard(order).meaning(-128 * row)[order // 2] == -128 * order
    assert Hadamard(order).infer([TensorType.full(i(8), (order,))]).lo == -128 * order


@pytest.mark.parametrize("order", [0, -4, 3, 6, 36, 44, 52, 768 + 1])
def test_orders_without_a_matrix_are_refused(order):
    with pytest.raises(UserError, match=f"no Hadamard matrix of order {order}: the order must be"):
        split_order(order)


def test_blocks_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match=r"operator hadamard: blocks of 12 do not divide"):
        Hadamard(12).infer([TensorType.full(i(8), (30,))])
    with pytest.raises(UserError, match=r"operator hadamard: blocks of 12 do not divide"):
        Hadamard(12).infer([TensorType.full(i(8), ())])


def test_a_sum_past_63_bits_is_refused():
    with pytest.raises(UserError, match=r"operator hadamard: .* needs 66 bits, more than 63"):
        Hadamard(16).infer([TensorType.full(i(61), (16,))])


def test_every_base_splits_itself():
    assert [split_order(b) for b in BASES] == [(b, 1) for b in BASES]
    assert [split_order(n) for n in (5120, 2560, 10240, 80)] == [
        (40, 128),
        (40, 64),
        (40, 256),
        (40, 2),
    ]


def test_work_is_counted_by_hand():
    """48 = 12 * 4: two butterfly stages and eleven additions of the base, per element."""
    x = TensorType.full(i(8), (96,))
    out = Hadamard(48).infer([x])
    want = Work(adds={out.dtype.bits: 96 * 13}, in_bits=96 * 8, out_bits=96 * out.dtype.bits)
    assert Hadamard(48).work([x], out) == want
