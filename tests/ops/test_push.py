"""`push`: a window moves by one."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Push
from tests.ops.check import check


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("bits", [8, 40])
def test_drops_the_oldest_and_appends(size, bits):
    types = [TensorType.full(i(bits), (size, 3)), TensorType.full(i(bits), (3,))]
    check(Push(), types, lambda window, x: [*window[1:], x], np.random.default_rng(size))


def test_bounds_are_the_widest():
    types = [TensorType(i(8), (4, 3), 0, 0), TensorType(i(8), (3,), -3, 9)]
    assert str(Push().infer(types)) == "i8[4,3] in -3..9"


@pytest.mark.parametrize(
    ("window", "x"),
    [
        (TensorType.full(i(8), (4, 3)), TensorType.full(i(9), (3,))),
        (TensorType.full(i(8), (4, 3)), TensorType.full(i(8), (4,))),
        (TensorType.full(i(8), (3,)), TensorType.full(i(8), ())),
    ],
    ids=str,
)
def test_other_shapes_and_types_are_refused(window, x):
    with pytest.raises(UserError, match=r"operator push: expected window \[K,C\] and x \[C\]"):
        Push().infer([window, x])


def test_work_reads_what_is_kept_and_writes_one_row():
    types = [TensorType.full(i(16), (4, 3)), TensorType.full(i(16), (3,))]
    assert Push().work(types, Push().infer(types)) == Work(
        in_bits=48, out_bits=192, state_read_bits=144, state_write_bits=48
    )
