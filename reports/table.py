"""Hold rows of results whose every number says where it comes from; print as text or CSV.

Glossary of origins: `given` was put in by a person or a file; `derived` follows from the graph by
counting; `modelled` is what the cycle or energy model says; `measured` was seen in an execution.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Literal

from cosim.ir.errors import InternalError

Origin = Literal["given", "derived", "modelled", "measured"]
ORIGINS: tuple[Origin, ...] = ("given", "derived", "modelled", "measured")
Cell = str | int | float | None


@dataclass(frozen=True)
class Column:
    """Describe a column: `key` for files (units in it), `title` for people.

    `form` shows floats: a number of significant digits, or a format such as `.2%`.
    """

    key: str
    title: str
    origin: Origin | None = None
    form: str = "4"


@dataclass(frozen=True)
class Table:
    """Hold rows of cells; a column with numbers must name its origin."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse ragged rows and numbers without an origin."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InternalError(f"table {self.name}: {len(self.columns)} columns, row {row}")
            for column, cell in zip(self.columns, row, strict=True):
                if column.origin is None and isinstance(cell, int | float):
                    raise InternalError(f"table {self.name}: {column.key} = {cell} has no origin")

    def text(self) -> str:
        """Print aligned columns under their titles and origins, numbers to the right."""
        heads: list[list[str]] = [[c.title for c in self.columns]]
        if any(c.origin for c in self.columns):
            heads.append([c.origin or "" for c in self.columns])
        body = [
            [show(cell, c) for c, cell in zip(self.columns, row, strict=True)] for row in self.rows
        ]
        widths = [max(len(line[k]) for line in heads + body) for k in range(len(self.columns))]
        lines = [self.title]
        for line in heads + body:
            cells = [
                text.rjust(width) if column.origin else text.ljust(width)
                for column, text, width in zip(self.columns, line, widths, strict=True)
            ]
            lines.append("  " + "  ".join(cells).rstrip())
        if self.note:
            lines.append("  " + self.note)
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Print as CSV: one line of keys, then the rows with full precision."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([c.key for c in self.columns])
        writer.writerows([["" if cell is None else cell for cell in row] for row in self.rows])
        return out.getvalue()

    def records(self) -> list[dict[str, Cell]]:
        """Return the rows as JSON objects by key."""
        keys = [c.key for c in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in self.rows]


def show(cell: Cell, column: Column) -> str:
    """Format one cell for people; what is not known is a dash, never a zero.

    >>> show(None, Column("a", "A")), show(1234567, Column("a", "A", "derived"))
    ('–', '1,234,567')
    >>> show(0.5, Column("a", "A", "measured", ".2%"))
    '50.00%'
    """
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    return (
        significant(cell, int(column.form))
        if column.form.isdigit()
        else cell.__format__(column.form)
    )


def significant(value: float, digits: int) -> str:
    """Format with so many significant digits, without an exponent where that is readable.

    >>> significant(48387.1, 4), significant(0.0123456, 3), significant(1.5, 3)
    ('48,390', '0.0123', '1.5')
    >>> significant(3.2e-7, 2), significant(2.5e12, 3)
    ('3.2e-07', '2.5e+12')
    """
    rounded = float(f"{value:.{digits}g}")
    if 1000 <= abs(rounded) < 1e9:
        return f"{rounded:,.0f}"
    return f"{value:.{digits}g}"


_PREFIXES = (
    (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""),
    (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"),
)  # fmt: skip


def si(value: float, unit: str, digits: int = 3) -> str:
    """Format with an SI prefix and so many significant digits.

    >>> si(1234567.0, "MAC/s"), si(0.00042, "J"), si(0.0, "B"), si(999.7, "B"), si(2e-12, "J")
    ('1.23 MMAC/s', '420 µJ', '0 B', '1 kB', '2 pJ')
    """
    if value == 0:
        return f"0 {unit}".rstrip()
    rounded = float(f"{value:.{digits}g}")
    scale, prefix = next((p for p in _PREFIXES if abs(rounded) >= p[0]), _PREFIXES[-1])
    return f"{rounded / scale:.{digits}g} {prefix}{unit}".rstrip()
