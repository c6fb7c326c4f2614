"""`clip`: min and max with constants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Clip
from tests.ops.check import check, draw_type


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_clips_python_integers(seed):
    rng = np.random.default_rng(seed)
    t = draw_type(rng, (3, 5), 40)
    low, high = sorted(rng.integers(t.dtype.lo, t.dtype.hi, 2, endpoint=True).tolist())
    check(Clip(low, high), [t], lambda x: [[min(max(v, low), high) for v in r] for r in x], rng)


def test_bounds_are_clipped_and_the_type_stays():
    t = TensorType(i(16), (4,), -100, 900)
    assert str(Clip(-5, 7).infer([t])) == "i16[4] in -5..7"
    assert str(Clip(-5000, 7000).infer([t])) == "i16[4] in -100..900"
    assert str(Clip(950, 999).infer([t])) == "i16[4] in 950..950"


@pytest.mark.parametrize(("low", "high"), [(3, 2), (-1, 5), (0, 16)])
def test_a_range_outside_the_type_is_refused(low, high):
    with pytest.raises(UserError, match=f"operator clip: range {low}..{high} is empty or outside"):
        Clip(low, high).infer([TensorType.full(u(4), (3,))])


def test_work_is_counted_by_hand():
    x = TensorType.full(i(12), (3, 5))
    want = Work(compares={12: 30}, in_bits=180, out_bits=180)
    assert Clip(0, 9).work([x], Clip(0, 9).infer([x])) == want
