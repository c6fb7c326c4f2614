"""`mul_shift`: a product of scaled codes, truncated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import MulShift
from tests.ops.check import check, draw_type

SHAPES = [(2, 3), (1, 3), (2, 1), (1, 1)]


@given(st.integers(0, 2**32), st.integers(0, 12), st.sampled_from([4, 9, 15]))
def test_equals_exact_arithmetic(seed, down, most_shift):
    rng = np.random.default_rng(seed)
    shapes = [SHAPES[k] for k in rng.integers(len(SHAPES), size=4)]
    a, b = (draw_type(rng, s, 8) for s in shapes[:2])
    s, t = (TensorType(u(4), shape, 0, most_shift) for shape in shapes[2:])

    def plain(*operands):
        grids = np.broadcast_arrays(*(np.array(x, dtype=object) for x in operands))
        return [
            [(p * q * 2 ** (e + f)) // 2**down for p, q, e, f in zip(*rows, strict=True)]
            for rows in zip(*grids, strict=True)
        ]

    check(MulShift(down, i(12)), [a, b, s, t], plain, rng)


@pytest.mark.parametrize(
    ("down", "shift", "said"),
    [
        (-1, u(4), "down is -1"),
        (64, u(4), "down is 64"),
        (0, i(4), "at least 0"),
        (0, u(6), "at most 63"),
    ],
    ids=str,
)
def test_what_is_no_shift_is_refused(down, shift, said):
    x, s = TensorType.full(i(8), (2,)), TensorType.full(shift, (2,))
    with pytest.raises(UserError, match=f"operator mul_shift: .*{said}"):
        MulShift(down, i(32)).infer([x, x, s, s])


def test_work_is_counted_by_hand():
    a, b = TensorType.full(i(8), (2, 3)), TensorType.full(i(16), (1, 3))
    s, t = TensorType.full(u(4), (2, 3)), TensorType.full(u(3), (1, 1))
    op = MulShift(10, i(32))
    assert op.work([a, b, s, t], op.infer([a, b, s, t])) == Work(
        muls={(16, 8): 6},
        adds={4: 6},
        shifts={46: 6},
        compares={46: 6},
        in_bits=48 + 48 + 24 + 3,
        out_bits=192,
    )
