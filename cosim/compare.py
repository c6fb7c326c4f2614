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
    """Return the first difference in the order of execution, or None if all bits agree.

    The order is that of the reference: segment, token, value; so that a wrong state is named
    before what it spoils at later tokens. Both map `segment/value` to arrays [..., T, *shape];
    raise InternalError unless they hold the same values of the same shapes, and at least one
    element, so that an empty comparison cannot pass.
    """
    if not left or set(left) != set(right):
        raise InternalError(f"nothing to compare, or unequal sets: {set(left) ^ set(right)}")
    unknown = set(left) - {f"{seg.name}/{n}" for seg in model.segments for n in seg.graph.types}
    if unknown:
        raise InternalError(f"model {model.name} has no value {min(unknown)!r}")
    for seg in model.segments:
        first: Difference | None = None
        earliest = -1
        for name, type_ in seg.graph.types.items():
            key = f"{seg.name}/{name}"
            if key not in left:
                continue
            rank = len(type_.shape)
            a, b = _checked(key, rank, left[key], right[key])
            unequal = a != b
            if not unequal.any():
                continue
            index, step = _first_index(unequal, rank, seg.direction == "backward")
            if first is None or step < earliest:
                count = int(np.count_nonzero(unequal))
                first, earliest = Difference(key, index, int(a[index]), int(b[index]), count), step
        if first is not None:
            return first
    return None


def _checked(
    key: str, rank: int, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(left), np.asarray(right)
    integers = a.dtype.kind in "iu" and b.dtype.kind in "iu"
    if a.shape != b.shape or not integers or a.size == 0 or a.ndim <= rank:
        raise InternalError(f"{key}: {a.dtype} {a.shape} against {b.dtype} {b.shape}")
    return a, b


def _first_index(unequal: np.ndarray, rank: int, backward: bool) -> tuple[tuple[int, ...], int]:
    """Return the index of the first unequal element in running order, and its step."""
    axis = unequal.ndim - rank - 1
    places = np.argwhere(unequal)
    times = places[:, axis]
    token = int(times.max() if backward else times.min())
    index = tuple(int(k) for k in places[times == token][0])
    return index, unequal.shape[axis] - 1 - token if backward else token
