"""`transpose`: axes in another order."""

from itertools import permutations

import numpy as np
import pytest

from cosim.ir.errors import UserError
from cosim.ir.types import TensorType, i
from cosim.ir.work import Work
from cosim.ops import Transpose
from tests.ops.check import check, draw_type


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_equals_an_index(order):
    rng = np.random.default_rng(7)
    shape = (2, 3, 5)

    def plain(x):
        sizes = [shape[k] for k in order]
        found = np.empty(sizes, dtype=object)
        for place in np.ndindex(*sizes):
            at = [0, 0, 0]
            for axis, source in enumerate(order):
                at[source] = place[axis]
            found[place] = x[at[0]][at[1]][at[2]]
        return found.tolist()

    check(Transpose(order), [draw_type(rng, shape)], plain, rng)


@pytest.mark.parametrize("order", [(0,), (0, 0), (0, 2), (0, 1, 2), (1, -1)], ids=str)
def test_what_is_no_order_is_refused(order):
    with pytest.raises(UserError, match="is no order of the axes"):
        Transpose(order).infer([TensorType.full(i(8), (2, 3))])


def test_it_is_wiring():
    x = TensorType.full(i(8), (2, 3))
    assert Transpose((1, 0)).work([x], Transpose((1, 0)).infer([x])) == Work()
