"""`relu_attend`: the positive part of scores as weights, exact in any order."""

from fractions import Fraction

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Divide, ReluAttend
from tests.ops.attention import places, up
from tests.ops.check import check


def plain_of(op):
    def plain(q, keys, values, position, scale, shift, newest=None):
        newest = position if op.causal else newest
        seen = [
            c for c, far in enumerate(places(op, position, newest, len(keys))) if far is not None
        ]
        share, rows = len(q) // len(keys[0]), []
        for h, vector in enumerate(q):
            g, mean = h // share, [0] * len(values[0][0])
            for c in seen:
                s = sum(a * b for a, b in zip(vector, keys[c][g], strict=True))
                w = min(max(up(s * scale[h], shift[h]), 0), 65535)
                mean = [m + w * v for m, v in zip(mean, values[c][g], strict=True)]
            rows.append([*mean, len(seen)])
        return rows

    return plain


def types_of(heads, groups, size, n, position, more=(), bits=8, shift=3):
    return [
        TensorType.full(i(8), (heads, size)),
        TensorType.full(i(8), (n, groups, size)),
        TensorType.full(i(bits), (n, groups, size)),
        TensorType(u(20), (), *position),
        TensorType(u(16), (heads,), 0, 200),
        TensorType(i(7), (heads,), shift, max(shift, 0) + 1),
        *more,
    ]


CASES = [
    (ReluAttend(4, 6), types_of(1, 1, 1, 9, (0, 8))),
    (ReluAttend(3, 3), types_of(6, 2, 3, 7, (0, 40))),
    (ReluAttend(5, 12, dilation=3), types_of(2, 1, 4, 12, (0, 11), shift=0)),
    (ReluAttend(2, 8, blocks=(0, 0, 1, 1, 2, 0, 2, 2, 3, 3)), types_of(2, 2, 2, 8, (0, 7))),
    (
        ReluAttend(4, 10, causal=False),
        types_of(2, 1, 3, 10, (0, 9), [TensorType(u(4), (), 0, 9)], bits=12),
    ),
]


@pytest.mark.parametrize(("op", "types"), CASES, ids=str)
def test_equals_the_glossary_in_python_integers(op, types):
    check(op, types, plain_of(op), np.random.default_rng(len(str(op))))


def test_any_order_of_the_keys_gives_the_same_integers():
    rng = np.random.default_rng(0)
    op, n = ReluAttend(8, 100), 100
    q, scale, shift = rng.integers(-128, 128, (4, 8)), np.full(4, 77), np.full(4, 4)
    keys, values = rng.integers(-128, 128, (2, n, 2, 8))
    want = op.meaning(q, keys, values, np.array(n - 1), scale, shift)
    for _ in range(5):
        order = rng.permutation(n)
        got = op.meaning(q, keys[order], values[order], np.array(n - 1), scale, shift)
        assert got.tolist() == want.tolist()


def test_divided_by_the_length_it_is_the_mean_of_weighted_values():
    rng = np.random.default_rng(1)
    q, keys = rng.integers(-9, 10, (1, 3)), rng.integers(-9, 10, (20, 1, 3))
    values = rng.integers(-128, 128, (20, 1, 2))
    for length in (1, 7, 20):
        sums = ReluAttend(4, 20).meaning(
            q, keys, values, np.array(length - 1), np.array([1]), np.array([0])
        )
        out = Divide(0, 243 * 128, i(40)).meaning(sums)[0]
        weights = [max(int(q[0] @ keys[j, 0]), 0) for j in range(length)]
        for e in range(2):
            total = sum(w * int(values[j, 0, e]) for j, w in enumerate(weights))
            exact = Fraction(total, length)
            assert abs(int(out[e]) - exact) <= Fraction(1, 2) + abs(exact) / 2**14


FITS = types_of(4, 2, 3, 8, (0, 7))


@pytest.mark.parametrize(
    ("op", "types", "said"),
    [
        (ReluAttend(4, 8), types_of(5, 2, 3, 8, (0, 7)), "5 query heads do not share 2 key heads"),
        (ReluAttend(4, 0), FITS, "a window of 0 keys"),
        (ReluAttend(4, 8, causal=False), FITS, "a newest position"),
        (ReluAttend(4, 8), [*FITS, TensorType(u(3), (), 0, 7)], "a newest position"),
        (ReluAttend(4, 8), types_of(4, 2, 3, 8, (0, 7), shift=-1), r"shift must lie in 0\.\.47"),
        (ReluAttend(4, 8), types_of(4, 2, 3, 8, (0, 7), shift=47), r"shift must lie in 0\.\.47"),
    ],
    ids=str,
)
def test_illegal_uses_are_refused(op, types, said):
    with pytest.raises(UserError, match=f"operator relu_attend: .*{said}"):
        op.infer(types)


def test_work_is_counted_by_hand():
    types = types_of(4, 2, 3, 8, (0, 99))
    op = ReluAttend(4, 6)
    out = op.infer(types)
    assert op.work(types, out) == Work(
        macs={(8, 8): 4 * 6 * 3, (16, 8): 4 * 6 * 3},
        muls={(17, 16): 24},
        shifts={17: 24},
        adds={17: 24},
        compares={17: 24},
        const_bits=92,
        in_bits=96,
        out_bits=out.size_bits,
        state_read_bits=6 * 2 * 2 * 3 * 8,
    )
