"""`embed`: rows of a table."""

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i, u
from cosim.ir.work import Work
from cosim.ops import Embed
from tests.ops.check import check


def test_reads_rows():
    rng = np.random.default_rng(0)
    types = [TensorType(u(8), (), 0, 6), TensorType.full(i(16), (7, 5))]
    check(Embed(), types, lambda token, table: table[token], rng)
    wide = [types[0], TensorType.full(i(40), (7, 5))]
    check(Embed(), wide, lambda token, table: table[token], rng)


def test_a_row_has_the_bounds_of_the_table():
    types = [TensorType(u(8), (), 0, 6), TensorType(i(16), (7, 5), -300, 20)]
    assert str(Embed().infer(types)) == "i16[5] in -300..20"


@pytest.mark.parametrize(
    ("token", "table", "said"),
    [
        (TensorType(u(8), (), 0, 7), (7, 5), r"token runs over 0\.\.7 but the table has 7 rows"),
        (TensorType(i(8), (), -1, 6), (7, 5), r"token runs over -1\.\.6"),
        (TensorType(u(8), (1,), 0, 6), (7, 5), "expected token"),
        (TensorType(u(8), (), 0, 6), (7,), "expected token"),
    ],
)
def test_tokens_without_a_row_are_refused(token, table, said):
    with pytest.raises(UserError, match=f"operator embed: {said}"):
        Embed().infer([token, TensorType.full(i(8), table)])


def test_work_is_one_row():
    types = [TensorType(u(8), (), 0, 6), TensorType.full(i(16), (7, 5))]
    assert Embed().work(types, Embed().infer(types)) == Work(const_bits=80, in_bits=8, out_bits=80)
