"""Count what an operator does for one token; no seconds and no joules here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

Widths = Mapping[tuple[int, int], int]
Counts = Mapping[int, int]


def _none() -> dict[int, int]:
    return {}


def _nothing() -> dict[tuple[int, int], int]:
    return {}


@dataclass(frozen=True)
class Work:
    """Hold the work of one evaluation.

    `macs` and `muls` count by the widths of the two operands (larger first), the others by the
    width of the operand in bits (`lookups`: width of a table entry). `const_bits` are constants
    read once per token, `state_*_bits` the state traffic, `in_bits`/`out_bits` the streams.
    """

    macs: Widths = field(default_factory=_nothing)
    muls: Widths = field(default_factory=_nothing)
    adds: Counts = field(default_factory=_none)
    shifts: Counts = field(default_factory=_none)
    compares: Counts = field(default_factory=_none)
    lookups: Counts = field(default_factory=_none)
    const_bits: int = 0
    in_bits: int = 0
    out_bits: int = 0
    state_read_bits: int = 0
    state_write_bits: int = 0

    def __add__(self, other: Work) -> Work:
        """Sum two works, width by width."""
        total: dict[str, object] = {}
        for f in fields(self):
            a, b = getattr(self, f.name), getattr(other, f.name)
            total[f.name] = dict(Counter(a) + Counter(b)) if isinstance(a, Mapping) else a + b
        return Work(**total)  # type: ignore[arg-type]

    @property
    def operations(self) -> int:
        """Count operations: two per multiply-accumulate, one for everything else."""
        simple = (self.muls, self.adds, self.shifts, self.compares, self.lookups)
        return 2 * sum(self.macs.values()) + sum(sum(c.values()) for c in simple)

    @property
    def mac_count(self) -> int:
        """Count multiply-accumulates of every width."""
        return sum(self.macs.values())


def pair(a: int, b: int) -> tuple[int, int]:
    """Order two operand widths, larger first."""
    return (max(a, b), min(a, b))
