"""Find the points that no other point beats in every objective: the Pareto front, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Compared with all others at once; more would take memory without being faster.
BLOCK = 256


def front(costs: Sequence[Sequence[float]]) -> list[bool]:
    """Tell of each row of costs whether it is on the front; less is better in every column.

    A row is beaten by one that is nowhere worse and somewhere better. Equal rows beat each other
    not: all of them are on the front, or none. Compared with ==, no tolerance.

    >>> front([(1, 4), (2, 2), (2, 2), (3, 3), (4, 1)])
    [True, True, True, False, True]
    """
    if not costs:
        return []
    table = np.asarray(costs, float)
    # Sorted by the first objective, then the next: whoever beats a row stands before it.
    order = np.lexsort(table.T[::-1])
    kept = np.empty((0, table.shape[1]))
    on = np.zeros(len(table), bool)
    for begin in range(0, len(table), BLOCK):
        block = order[begin : begin + BLOCK]
        rows = table[block]
        rivals = np.concatenate([kept, rows])
        no_worse = np.all(rivals[None] <= rows[:, None], axis=2)
        better = np.any(rivals[None] < rows[:, None], axis=2)
        on[block] = ~np.any(no_worse & better, axis=1)
        kept = np.concatenate([kept, rows[on[block]]])
    return [bool(x) for x in on]


def ties(costs: Sequence[Sequence[float]], on: Sequence[bool]) -> int:
    """Count the points of the front that share all their objectives with an earlier one.

    >>> ties([(1, 4), (2, 2), (2, 2), (3, 3)], [True, True, True, False])
    1
    """
    rows = [tuple(row) for row, is_on in zip(costs, on, strict=True) if is_on]
    return len(rows) - len(set(rows))
