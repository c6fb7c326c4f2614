"""What all operators share: attributes, printed form, broadcasting, exact types."""

import pytest

from cosim.ir.errors import UserError
from cosim.ir.op import exact_type, largest, product_bounds, same_rank
from cosim.ir.types import TensorType, i, u
from cosim.ops import ALL, OPS, Add, Argmax, Linear, Reshape


def test_an_operator_prints_its_attributes():
    assert str(Linear(128, 0, 2)) == "linear(weight_group=128, act_group=0, mantissa_bits=2)"
    assert str(Reshape((2, 3), ())) == "reshape(source=[2,3], target=[])"
    assert (str(Add(i(8))), str(Argmax())) == ("add(dtype=i8)", "argmax")


def test_operators_are_listed_once_under_their_names():
    assert list(OPS) == [op.name for op in ALL] == sorted(OPS)
    assert len(set(OPS.values())) == len(ALL)


def test_broadcasting_takes_ones():
    shapes = [(3, 1, 5), (1, 4, 5), (1, 1, 1)]
    assert same_rank(Argmax(), [TensorType.full(i(8), s) for s in shapes]) == (3, 4, 5)
    assert same_rank(Argmax(), [TensorType.full(i(8), ())]) == ()


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ((3,), (3, 1), r"\[3\] and \[3, 1\] differ in rank; reshape one of them"),
        ((3, 2), (3, 4), r"\[3, 2\] and \[3, 4\] do not broadcast"),
    ],
)
def test_other_shapes_are_refused(a, b, said):
    with pytest.raises(UserError, match=said):
        same_rank(Argmax(), [TensorType.full(i(8), a), TensorType.full(i(8), b)])


def test_product_bounds_try_all_corners():
    for lo, hi in [(-3, 5), (-9, -2), (2, 4), (0, 0)]:
        for low, high in [(-7, 1), (3, 8), (-5, -4)]:
            a, b = TensorType(i(8), (), lo, hi), TensorType(i(8), (), low, high)
            every = [x * y for x in range(lo, hi + 1) for y in range(low, high + 1)]
            assert product_bounds(a, b) == (min(every), max(every))


def test_an_exact_result_has_the_narrowest_signed_type():
    assert str(exact_type(Argmax(), (2,), -128, 127)) == "i8[2] in -128..127"
    assert str(exact_type(Argmax(), (2,), 0, 128)) == "i9[2] in 0..128"
    assert exact_type(Argmax(), (), -(2**62), 0).dtype == i(63)
    with pytest.raises(UserError, match=r"reaches 0\.\.4611686018427387904, which needs 64 bits"):
        exact_type(Argmax(), (), 0, 2**62)


def test_the_largest_input_counts_by_magnitude():
    assert largest([TensorType(i(8), (), -9, 3), TensorType(u(8), (), 2, 8)]) == 9
