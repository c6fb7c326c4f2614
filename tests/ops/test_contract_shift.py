"""`contract_shift`: a sum of products of scaled codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import ContractShift
from tests.ops.check import check, draw_type


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_equals_exact_arithmetic(seed, n):
    rng = np.random.default_rng(seed)
    h, c = draw_type(rng, (3, n), 8), draw_type(rng, (1, n), 8)
    s, t = TensorType.full(u(4), (3, n)), TensorType.full(u(3), (1, n))

    def plain(h, c, s, t):
        return [
            sum(h[r][k] * c[0][k] * 2 ** (s[r][k] + t[0][k]) for k in range(n)) for r in range(3)
        ]

    check(ContractShift(8), [h, c, s, t], plain, rng)


def test_scalars_and_empty_groups_are_refused():
    x, s = TensorType.full(i(8), ()), TensorType.full(u(4), ())
    with pytest.raises(UserError, match="need group >= 1, a vector"):
        ContractShift(8).infer([x, x, s, s])
    x, s = TensorType.full(i(8), (2,)), TensorType.full(u(4), (2,))
    with pytest.raises(UserError, match="need group >= 1, a vector"):
        ContractShift(0).infer([x, x, s, s])


def test_work_is_counted_by_hand():
    h, c = TensorType.full(i(8), (4, 12)), TensorType.full(i(8), (1, 12))
    s, t = TensorType.full(u(4), (4, 12)), TensorType.full(u(4), (1, 12))
    op = ContractShift(8)
    out = op.infer([h, c, s, t])
    assert out.hi == 12 * 2**14 * 2**30
    assert op.work([h, c, s, t], out) == Work(
        macs={(8, 8): 48},
        shifts={out.dtype.bits: 8},
        adds={out.dtype.bits: 8},
        in_bits=384 + 96 + 192 + 48,
        out_bits=4 * out.dtype.bits,
    )
