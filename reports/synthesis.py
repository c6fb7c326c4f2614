"""Report what the units of an accelerator take, as a synthesis tool counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.table import Column, Table


@dataclass(frozen=True)
class SynthesisRow:
    """Hold what one unit takes; `delay` is relative, `rtl/cells.py` says to what."""

    unit: str
    kind: str
    lanes: str
    luts: int
    ffs: int
    dsps: int
    brams: float
    urams: int
    levels: int
    delay: float
    estimated_luts: int | None = None
    estimated_ffs: int | None = None
    estimated_dsps: int | None = None
    outside: str = ""


def table(rows: Sequence[SynthesisRow], family: str, tool: str, is_whole: bool = False) -> Table:
    """Return a row per unit and their sum; a longest path has no sum, but a longest.

    Estimates are those of `cosim/design/fitted.py` and the DSPs as this tool packs them; their
    errors are relative to what the tool says.
    """
    lines = [
        (
            r.unit,
            r.kind,
            r.lanes,
            r.luts,
            r.ffs,
            r.dsps,
            r.brams,
            r.urams,
            r.levels,
            r.delay,
            *_beside(r.luts, r.estimated_luts),
            *_beside(r.ffs, r.estimated_ffs),
            r.estimated_dsps,
            r.outside,
        )
        for r in rows
    ]
    sums = [sum(getattr(r, n) for r in rows) for n in ("luts", "ffs", "dsps", "brams", "urams")]
    most = max(rows, key=lambda r: r.delay)
    luts, ffs, dsps = (
        _sum([getattr(r, n) for r in rows])
        for n in ("estimated_luts", "estimated_ffs", "estimated_dsps")
    )
    lines.append(
        ("sum", None, None, *sums, most.levels, most.delay, *_beside(sums[0], luts),
         *_beside(sums[1], ffs), dsps, "")
    )  # fmt: skip
    columns = (
        Column("unit", "unit"),
        Column("kind", "kind"),
        Column("lanes", "lanes", "given"),
        Column("luts", "LUT", "measured"),
        Column("ffs", "FF", "measured"),
        Column("dsps", "DSP", "measured"),
        Column("brams", "BRAM", "measured", ".1f"),
        Column("urams", "URAM", "measured"),
        Column("levels", "levels", "measured"),
        Column("delay", "relative delay", "derived", ".1f"),
        Column("estimated_luts", "LUT estimated", "modelled"),
        Column("luts_error", "error", "derived", "+.1%"),
        Column("estimated_ffs", "FF estimated", "modelled"),
        Column("ffs_error", "error", "derived", "+.1%"),
        Column("estimated_dsps", "DSP counted", "derived"),
        Column("outside", "extrapolated"),
    )
    how = "all units in one run" if is_whole else "unit by unit"
    return Table("synthesis", f"Synthesis for {family} by {tool}, {how}", columns, tuple(lines))


def _beside(found: int, estimated: int | None) -> tuple[int | None, float | None]:
    """Return an estimate and its relative error; None where there is none."""
    return estimated, estimated / found - 1 if found and estimated is not None else None


def _sum(values: Sequence[int | None]) -> int | None:
    """Return the sum; None where one is not known."""
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None
