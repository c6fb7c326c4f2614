"""`shift_fir`: a convolution over scaled codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import ShiftFir
from tests.ops.check import check, draw_type


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
def test_equals_exact_arithmetic(seed, width, channels, group):
    rng = np.random.default_rng(seed)
    groups, shape = -(-channels // group), (width, channels)

    def plain(q, s, w, t, b, e):
        return [
            b[c] * 2 ** e[c // group]
            + sum(q[k][c] * w[k][c] * 2 ** (s[k][c] + t[k][c // group]) for k in range(width))
            for c in range(channels)
        ]

    q, w, b = draw_type(rng, shape, 8), draw_type(rng, shape, 8), draw_type(rng, (channels,), 8)
    s, t, e = (TensorType.full(u(3), x) for x in (shape, (width, groups), (groups,)))
    check(ShiftFir(group), [q, s, w, t, b, e], plain, rng)


@pytest.mark.parametrize(
    ("group", "shapes", "said"),
    [
        (2, [(2, 4), (2, 3), (2, 4), (2, 2), (4,), (2,)], "expected q, s and w"),
        (2, [(2, 4), (2, 4), (2, 4), (2, 2), (3,), (2,)], "expected q, s and w"),
        (2, [(2, 4), (2, 4), (2, 4), (2, 3), (4,), (2,)], r"expected t \[2, 2\]"),
        (2, [(2, 4), (2, 4), (2, 4), (2, 2), (4,), (1,)], r"and e \[2\]"),
        (0, [(2, 4), (2, 4), (2, 4), (2, 2), (4,), (2,)], "groups of 0"),
    ],
)
def test_what_does_not_fit_is_refused(group, shapes, said):
    with pytest.raises(UserError, match=f"operator shift_fir: .*{said}"):
        ShiftFir(group).infer([TensorType.full(u(4), s) for s in shapes])


def test_work_is_counted_by_hand():
    shapes = [(4, 16), (4, 16), (4, 16), (4, 2), (16,), (2,)]
    types = [
        TensorType.full(d, s)
        for d, s in zip((i(8), u(4), i(8), u(3), i(8), u(3)), shapes, strict=True)
    ]
    out = ShiftFir(8).infer(types)
    assert ShiftFir(8).work(types, out) == Work(
        macs={(8, 8): 64},
        shifts={38: 64},
        adds={4: 64},
        const_bits=512 + 24 + 128 + 6,
        in_bits=512 + 256,
        out_bits=16 * out.dtype.bits,
    )
