"""The front is exactly what no other point beats: against the definition, written as loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.sweep.pareto import BLOCK, front, ties


def by_definition(rows):
    return [
        not any(
            all(o <= m for o, m in zip(other, mine, strict=True))
            and any(o < m for o, m in zip(other, mine, strict=True))
            for other in rows
        )
        for mine in rows
    ]


tables = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.tuples(*[st.integers(-3, 3)] * n), max_size=40)
)


@given(tables)
def test_small_tables_with_many_ties(rows):
    assert front(rows) == by_definition(rows)


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("levels", [7, 10**6], ids=["ties", "no ties"])
def test_tables_of_several_blocks(objectives, levels):
    rng = np.random.default_rng(objectives)
    rows = rng.integers(levels, size=(3 * BLOCK + 1, objectives)).tolist()
    assert front(rows) == by_definition(rows)


def test_a_front_longer_than_a_block():
    rows = [(k, -k) for k in range(BLOCK + 50)]
    rows += [(k + 0.5, -k + 0.5) for k in range(BLOCK + 50)]
    assert front(rows) == [True] * (BLOCK + 50) + [False] * (BLOCK + 50)


def test_the_last_bit_decides():
    one, more = 1.0, float(np.nextafter(1.0, 2.0))
    assert front([(one, 0), (more, 0)]) == [True, False]


def test_equal_points_share_a_fate_and_are_counted():
    rows = [(1, 2), (1, 2), (2, 1), (2, 2), (2, 2), (1, 2)]
    on = front(rows)
    assert on == [True, True, True, False, False, True]
    assert ties(rows, on) == 2
    assert front([]) == []
    assert ties([], []) == 0
