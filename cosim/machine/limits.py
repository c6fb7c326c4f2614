"""Say of each number of a machine what it may be: read by its checks and by its schema alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_type_hints


@dataclass(frozen=True)
class Limits:
    """Bound a number: above 0 or at least 0, and at most `most`."""

    zero_is_fine: bool = False
    most: float | None = None

    def fault(self, value: float) -> str:
        """Return what a value breaks, else nothing.

        >>> Limits(most=1).fault(0), Limits(most=1).fault(1.5), Limits(most=1).fault(1)
        ('which must be above 0', 'a share of at most 1', '')
        """
        if value < 0 or (value == 0 and not self.zero_is_fine):
            return f"which must be {'at least' if self.zero_is_fine else 'above'} 0"
        if self.most is not None and value > self.most:
            return f"a share of at most {self.most:g}"
        return ""


Count = Annotated[int, Limits()]
CountOrZero = Annotated[int, Limits(zero_is_fine=True)]
Amount = Annotated[float, Limits()]
AmountOrZero = Annotated[float, Limits(zero_is_fine=True)]
Share = Annotated[float, Limits(most=1)]


def limits_of(kind: type) -> dict[str, Limits]:
    """Return the limits of a dataclass's numbers by field name."""
    found = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, Limits):
                found[name] = mark
    return found
