"""`dequantize`: codes times their group's integer scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Dequantize
from tests.ops.check import check, draw_type


def scale(code, mantissa_bits):
    """Decode (2^M + f) << e by division, as the glossary says it."""
    e, f = divmod(code, 2**mantissa_bits)
    return (2**mantissa_bits + f) * 2**e


def plain_of(group, mantissa_bits):
    def plain(q, c):
        return [
            [v * scale(codes[k // group], mantissa_bits) for k, v in enumerate(row)]
            for row, codes in zip(q, c, strict=True)
        ]

    return plain


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 3), st.integers(1, 7))
def test_multiplies_python_integers(seed, size, mantissa_bits, group):
    """Groups that do not divide the axis leave a shorter last one."""
    rng = np.random.default_rng(seed)
    for most_bits, top in ((8, 9), (24, 30)):
        codes = TensorType(u(6), (2, -(-size // group)), 0, top)
        types = [draw_type(rng, (2, size), most_bits), codes]
        check(Dequantize(group, mantissa_bits), types, plain_of(group, mantissa_bits), rng)


def test_bounds_are_reached():
    types = [TensorType.full(i(4), (5,)), TensorType(u(4), (2,), 0, 7)]
    assert str(Dequantize(4, 1).infer(types)) == "i9[5] in -192..168"
    top = np.array([7, 7])
    assert Dequantize(4, 1).meaning(np.full(5, -8), top).tolist() == [-192] * 5
    assert Dequantize(4, 1).meaning(np.full(5, 7), top).tolist() == [168] * 5


@pytest.mark.parametrize(
    ("op", "codes", "said"),
    [
        (Dequantize(4), TensorType.full(u(2), (3,)), r"expected codes \[2\] >= 0 for"),
        (Dequantize(4), TensorType.full(i(4), (2,)), r"expected codes \[2\] >= 0 for"),
        (Dequantize(0), TensorType.full(u(2), (2,)), "group 0 and mantissa_bits 0"),
        (Dequantize(4, 4), TensorType.full(u(2), (2,)), "group 4 and mantissa_bits 4"),
        (Dequantize(4), TensorType.full(u(8), (2,)), "needs 263 bits, more than 63"),
    ],
    ids=["groups", "negative codes", "group", "mantissa", "too wide"],
)
def test_codes_that_do_not_fit_are_refused(op, codes, said):
    with pytest.raises(UserError, match=f"operator dequantize: .*{said}"):
        op.infer([TensorType.full(i(8), (5,)), codes])


def test_a_scalar_is_refused():
    with pytest.raises(UserError, match=r"need a vector"):
        Dequantize(4).infer([TensorType.full(i(8), ()), TensorType.full(u(2), ())])


def test_work_is_counted_by_hand():
    types = [TensorType.full(i(8), (2, 5)), TensorType(u(4), (2, 2), 0, 7)]
    plain_out = Dequantize(4).infer(types)
    assert Dequantize(4).work(types, plain_out) == Work(
        shifts={8: 10}, in_bits=80 + 16, out_bits=10 * plain_out.dtype.bits
    )
    out = Dequantize(4, 1).infer(types)
    assert Dequantize(4, 1).work(types, out).adds == {out.dtype.bits: 10}
