"""Compare two runs with ==, and name the first node, index and pair of values that differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cosim.ir.errors import InternalError
from cosim.ir.model import Model


@dataclass(frozen=True)
class Difference:
    """Say where two executions part: value, index ([..., t, *element]) and both integers."""

    value: str
    index: tuple[int, ...]
    left: int
    right: int
    count: int

    def __str__(self) -> str:
        """Print as one sentence."""
        at = ", ".join(map(str, self.index))
        return (
            f"first difference at {self.value}[{at}]: {self.left} against {self.right} "
            f"({self.count} elements of this value differ)"
        )


def first_difference(
    model: Model, left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]
) -> Difference | None:
    """Return the first difference in the order of the graph, or None if all bits agree.

    Both map `segment/value` to arrays; raise InternalError unless they hold the same values of
    the same shapes and at least one of them, so that an empty comparison cannot pass.
    """
    names = [
        f"{seg.name}/{name}"
        for seg in model.segments
        for name in seg.graph.types
        if f"{seg.name}/{name}" in left or f"{seg.name}/{name}" in right
    ]
    if not names or set(left) != set(right):
        raise InternalError(f"nothing to compare, or unequal sets: {set(left) ^ set(right)}")
    for name in names:
        a, b = np.asarray(left[name]), np.asarray(right[name])
        if a.shape != b.shape or a.dtype.kind not in "iu" or b.dtype.kind not in "iu":
            raise InternalError(f"{name}: {a.dtype} {a.shape} against {b.dtype} {b.shape}")
        unequal = a != b
        if unequal.any():
            index = tuple(int(k) for k in np.argwhere(unequal)[0])
            return Difference(
                name, index, int(a[index]), int(b[index]), int(np.count_nonzero(unequal))
            )
    return None
