"""`step_table`: a table of codes with a table of shifts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import StepTable
from tests.ops.check import check, draw_type


@given(st.integers(0, 2**32), st.integers(-40, 40), st.integers(0, 3), st.integers(0, 3))
def test_equals_an_index(seed, start, step, more):
    rng = np.random.default_rng(seed)
    entries, spans = int(rng.integers(1, 20)), int(rng.integers(1, 5))
    types = [
        draw_type(rng, (4,), 9),
        draw_type(rng, (entries,), 8),
        TensorType.full(u(4), (spans,)),
    ]

    def plain(x, table, shifts):
        found = []
        for v in x:
            k = min(max((v - start) // 2**step, 0), entries - 1)
            j = min(max((v - start) // 2 ** (step + more), 0), spans - 1)
            found.append(table[k] * 2 ** shifts[j])
        return found

    check(StepTable(start, step, step + more), types, plain, rng)


@pytest.mark.parametrize(
    ("op", "shift", "said"),
    [
        (StepTable(0, -1, 3), u(4), "log2_step -1"),
        (StepTable(0, 4, 3), u(4), "log2_span 3"),
        (StepTable(0, 3, 64), u(4), "log2_span 64"),
        (StepTable(0, 3, 4), i(4), "shifts must lie in"),
    ],
    ids=str,
)
def test_other_attributes_are_refused(op, shift, said):
    x, table, shifts = (TensorType.full(d, (4,)) for d in (i(8), i(8), shift))
    with pytest.raises(UserError, match=f"operator step_table: .*{said}"):
        op.infer([x, table, shifts])


def test_a_table_is_a_vector():
    x, table, shifts = (TensorType.full(i(8), s) for s in ((4,), (2, 2), (1,)))
    with pytest.raises(UserError, match=r"expected table \[E\] and shifts \[G\]"):
        StepTable(0, 3, 4).infer([x, table, shifts])


def test_work_is_counted_by_hand():
    x, table, shifts = (TensorType.full(d, (n,)) for d, n in ((i(32), 3), (i(8), 64), (u(4), 2)))
    op = StepTable(-25600, 5, 12)
    out = op.infer([x, table, shifts])
    assert (out.lo, out.hi) == (-(128 << 15), 127 << 15)
    assert op.work([x, table, shifts], out) == Work(
        lookups={8: 3, 4: 3},
        adds={32: 3},
        compares={32: 3},
        shifts={out.dtype.bits: 3},
        const_bits=64 * 8 + 8,
        in_bits=96,
        out_bits=3 * out.dtype.bits,
    )
