"""`rms_table`: a norm by table; its published table is held in tests/quant/test_lightmamba_*."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import RmsTable
from tests.ops.check import check, draw_type

STARTS, STEPS, LIFTS = (3, 40, 600), (1, 3, 6), (5, 2, 0)


def plain_of(op, entries):
    def one(x, table, w):
        total = sum(v * v for v in x)
        k = max([k for k, a in enumerate(op.starts) if total >= a], default=0)
        e = min(max((total - op.starts[k]) // 2 ** op.log2_steps[k], 0), entries - 1)
        root = table[k][e] * 2 ** op.lifts[k]
        first = [v * root // 2**op.root_shift for v in x]
        return [v * g // 2**op.weight_shift for v, g in zip(first, w, strict=True)]

    return lambda x, table, w: [one(row, table, w) for row in x]


@given(st.integers(0, 2**32), st.sampled_from([2, 4, 8]), st.integers(0, 4), st.integers(0, 4))
def test_equals_exact_arithmetic(seed, bits, root_shift, weight_shift):
    rng = np.random.default_rng(seed)
    op = RmsTable(STARTS, STEPS, LIFTS, root_shift, weight_shift, i(14))
    types = [draw_type(rng, (2, 5), bits), TensorType.full(u(8), (3, 6)), draw_type(rng, (5,), 6)]
    check(op, types, plain_of(op, 6), rng)


@pytest.mark.parametrize("total", [0, 2, 3, 4, 39, 40, 41, 599, 600, 601, 10**6])
def test_segments_begin_where_they_say(total):
    op = RmsTable(STARTS, STEPS, LIFTS, 0, 0, i(32))
    table = np.arange(18).reshape(3, 6) + 1
    root = int(total**0.5)
    rest = total - root * root
    x = np.array([root, *[1] * rest, *[0] * (60 - rest)]) if rest <= 60 else np.array([root] * 61)
    w = np.ones(61, dtype=np.int64)
    want = plain_of(op, 6)([x.tolist()], table.tolist(), w.tolist())
    assert op.meaning(x, table, w).tolist() == want[0]


@pytest.mark.parametrize(
    ("op", "said"),
    [
        (RmsTable((3, 3, 4), STEPS, LIFTS, 1, 1, i(8)), "must rise"),
        (RmsTable((-1, 3, 4), STEPS, LIFTS, 1, 1, i(8)), "from at least 0"),
        (RmsTable(STARTS[:2], STEPS, LIFTS, 1, 1, i(8)), "2 starts"),
        (RmsTable(STARTS, (1, 2), LIFTS, 1, 1, i(8)), "3 starts"),
        (RmsTable(STARTS, STEPS, LIFTS, -1, 1, i(8)), r"0\.\.63"),
    ],
    ids=str,
)
def test_other_attributes_are_refused(op, said):
    types = [TensorType.full(d, s) for d, s in ((i(8), (5,)), (u(8), (3, 6)), (i(8), (5,)))]
    with pytest.raises(UserError, match=f"operator rms_table: .*{said}"):
        op.infer(types)


def test_the_weight_has_one_value_per_channel():
    types = [TensorType.full(d, s) for d, s in ((i(8), (5,)), (u(8), (3, 6)), (i(8), (4,)))]
    with pytest.raises(UserError, match="expected x"):
        RmsTable(STARTS, STEPS, LIFTS, 1, 1, i(8)).infer(types)


def test_work_is_counted_by_hand():
    types = [TensorType.full(d, s) for d, s in ((i(26), (5,)), (u(8), (3, 6)), (i(11), (5,)))]
    op = RmsTable(STARTS, STEPS, LIFTS, 12, 8, i(32))
    assert op.work(types, TensorType.full(i(32), (5,))) == Work(
        macs={(26, 26): 5},
        muls={(27, 11): 5, (26, 13): 5},
        compares={10: 3, 32: 5},
        lookups={8: 1},
        shifts={13: 1},
        const_bits=18 * 8 + 55,
        in_bits=130,
        out_bits=160,
    )
