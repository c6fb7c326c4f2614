"""`argmax_attend`: the value of the best key."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import ArgmaxAttend
from tests.ops.attention import places
from tests.ops.check import check


def plain_of(op):
    def plain(q, keys, values, position, newest=None):
        newest = position if op.causal else newest
        seen = [
            c for c, far in enumerate(places(op, position, newest, len(keys))) if far is not None
        ]
        share, rows = len(q) // len(keys[0]), []
        for h, vector in enumerate(q):
            best, row = None, [0] * len(values[0][0])
            for c in seen:
                s = sum(a * b for a, b in zip(vector, keys[c][h // share], strict=True))
                if best is None or s > best:
                    best, row = s, values[c][h // share]
            rows.append(row)
        return rows

    return plain


def types_of(heads, groups, size, n, position, more=(), bits=8):
    return [
        TensorType.full(i(bits), (heads, size)),
        TensorType.full(i(bits), (n, groups, size)),
        TensorType.full(i(8), (n, groups, size + 1)),
        TensorType(u(20), (), *position),
        *more,
    ]


CASES = [
    (ArgmaxAttend(4, 6), types_of(1, 1, 1, 9, (0, 8))),
    (ArgmaxAttend(3, 3), types_of(6, 2, 3, 7, (0, 40), bits=2)),
    (ArgmaxAttend(5, 12, dilation=3), types_of(2, 1, 4, 12, (0, 11))),
    (ArgmaxAttend(2, 8, blocks=(0, 0, 1, 1, 2, 0, 2, 2, 3, 3)), types_of(2, 2, 2, 8, (0, 7))),
    (
        ArgmaxAttend(4, 10, causal=False),
        types_of(2, 1, 3, 10, (0, 9), [TensorType(u(4), (), 0, 9)], bits=1),
    ),
]


@pytest.mark.parametrize(("op", "types"), CASES, ids=str)
def test_equals_a_search_in_python_with_many_ties(op, types):
    check(op, types, plain_of(op), np.random.default_rng(len(str(op))))


def test_it_is_the_limit_of_softmax():
    """With scores far apart the softmax's mean is the best key's value."""
    from cosim.ops import Attend, Divide

    rng = np.random.default_rng(0)
    q, (keys, values) = rng.integers(-128, 128, (4, 8)), rng.integers(-128, 128, (2, 30, 2, 8))
    at, steep, shift = np.array(29), np.full(4, 60000), np.full(4, 3)
    want = ArgmaxAttend(8, 30).meaning(q, keys, values, at)
    sums = Attend(8, 30).meaning(q, keys, values, at, steep, shift)
    assert Divide(0, 128, i(16)).meaning(sums).tolist() == want.tolist()


FITS = types_of(4, 2, 3, 8, (0, 7))


@pytest.mark.parametrize(
    ("op", "types", "said"),
    [
        (ArgmaxAttend(4, 8), types_of(5, 2, 3, 8, (0, 7)), "5 query heads do not share 2"),
        (ArgmaxAttend(4, 0), FITS, "a window of 0 keys"),
        (ArgmaxAttend(4, 8, causal=False), FITS, "a newest position"),
        (ArgmaxAttend(4, 8), [*FITS, TensorType(u(3), (), 0, 7)], "a newest position"),
    ],
    ids=str,
)
def test_illegal_uses_are_refused(op, types, said):
    with pytest.raises(UserError, match=f"operator argmax_attend: .*{said}"):
        op.infer(types)


def test_work_is_counted_by_hand():
    types = types_of(4, 2, 3, 8, (0, 99))
    op = ArgmaxAttend(4, 6)
    assert op.work(types, op.infer(types)) == Work(
        macs={(8, 8): 4 * 6 * 3},
        compares={17: 24},
        in_bits=96,
        out_bits=128,
        state_read_bits=6 * 2 * 3 * 8 + 128,
    )
